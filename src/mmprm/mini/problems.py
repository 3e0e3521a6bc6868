"""Generate problems of the mini world. In: a split, a size, families, a seed. Out: problems with right solutions.

A hash of a problem's family, question and values assigns it to one split for all seeds, so that no figure of the split
test occurs in training, in seeds or in the base model's lessons. Stories have no figure.
"""

import hashlib
import random
from collections.abc import Sequence

from mmprm.data.problem import Problem
from mmprm.mini.families import FAMILIES, IN_DOMAIN, OUT_OF_DOMAIN, MiniTask
from mmprm.mini.statements import solve, some_operation, some_reading
from mmprm.mini.stories import STORIES, Story
from mmprm.model.step_text import render_solution
from mmprm.runtime.errors import UserError

__all__ = ["ALL_FAMILIES", "FAMILIES", "IN_DOMAIN", "OUT_OF_DOMAIN", "SPLITS", "draw_task", "generate", "split_of"]

_CHECK = "check"
ALL_FAMILIES = (*FAMILIES, _CHECK, *STORIES)
SPLITS = {"sft": 50, "seeds": 25, "dev": 8, "test": 17}  # shares of all problems, in percent
_TRIES = 2_000  # to draw a problem that is not drawn yet


def split_of(family: str, task: MiniTask | Story) -> str:
    """Return the split of a problem, by a hash of its family, question and values."""
    values = sorted(task.readings.items()) if isinstance(task, MiniTask) else []
    key = f"{family}|{task.question}|{values}"
    remainder = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 100
    for split, share in SPLITS.items():
        if remainder < share:
            return split
        remainder -= share
    raise AssertionError("the shares add up to 100")


def draw_task(family: str, split: str, rng: random.Random) -> MiniTask:
    """Draw a task of the family that belongs to the split."""
    while True:
        task = FAMILIES[family].task(rng)
        if split_of(family, task) == split:
            return task


def generate(split: str, size: int, families: Sequence[str], seed: int) -> list[Problem]:
    """Generate `size` problems with right solutions, of the families in turn; UserError if a family has too few.

    In the split sft, figures may share their values (each is drawn and solved anew); in the others, and among stories,
    no two problems do.
    """
    problems = []
    for index, family in enumerate(families):
        rng = random.Random(f"{seed}/{split}/{family}")
        seen: set[str] = set()
        for number in range(len(range(index, size, len(families)))):
            name = f"{family}-{split}-{number:05d}"
            if family == _CHECK:
                figure = rng.choice(list(FAMILIES))
                problems.append(check_problem(name, figure, draw_task(figure, split, rng), rng))
            elif family in STORIES:
                problems.append(_told_problem(name, family, split, rng, seen))
            else:
                problems.append(_solved_problem(name, family, split, rng, seen))
    return problems


def _solved_problem(name: str, family: str, split: str, rng: random.Random, seen: set[str]) -> Problem:
    """Make a problem of one of FAMILIES; `seen` holds the problems of the family that were drawn before."""
    for _ in range(_TRIES):
        task = draw_task(family, split, rng)
        key = f"{task.question}{sorted(task.readings.items())}"
        if split == "sft" or key not in seen:
            break
    else:
        raise UserError(f"the mini family {family} has no more than {len(seen)} problems of split {split}")
    seen.add(key)
    steps, answer = solve(task, rng)
    image = FAMILIES[family].draw(task.readings, rng).png()
    return _problem(name, family, task.question, steps, answer, (image,))


def _told_problem(name: str, family: str, split: str, rng: random.Random, seen: set[str]) -> Problem:
    """Make a problem of one of STORIES, whose question none of `seen` is."""
    for _ in range(_TRIES):
        story = STORIES[family](rng)
        if split_of(family, story) == split and story.question not in seen:
            break
    else:
        raise UserError(f"the mini family {family} has no more than {len(seen)} problems of split {split}")
    seen.add(story.question)
    return _problem(name, family, story.question, story.steps, str(story.answer))


def check_problem(name: str, figure: str, task: MiniTask, rng: random.Random) -> Problem:
    """Make a problem of the family `check`: a figure, statements about it, and how many of them are wrong.

    It is for training a policy only: fine-tuned on solutions alone, it soon forgets how to judge one; a reward model
    that starts from it has to learn it again. Large models have other fine-tuning data that prevents this.
    """
    names = list(task.readings)
    statements = [some_reading(task, name, rng.random() < 0.6, rng) for name in names]
    statements += [some_operation(names, task.readings, rng) for _ in range(5 - len(names))]
    rng.shuffle(statements)
    lines = [statement.claim + statement.values for statement in statements]
    steps = [f"{line}? {'Yes' if statement.right else 'No'}" for line, statement in zip(lines, statements, strict=True)]
    wrong = sum(not statement.right for statement in statements)
    image = FAMILIES[figure].draw(task.readings, rng).png()
    return _problem(name, _CHECK, "\n".join(["How many of these are wrong?", *lines]), steps, str(wrong), (image,))


def _problem(
    name: str, family: str, question: str, steps: Sequence[str], answer: str, images: tuple[bytes, ...] = ()
) -> Problem:
    solution = render_solution(steps, answer)
    return Problem(name, "mini", question, answer, images, answer_type="number", solution=solution, family=family)
