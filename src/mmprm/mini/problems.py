"""Generate problems of the mini world. In: a split, a size, families, a seed. Out: problems with solutions.

Solutions are right, except for the share `wrong_routes` of the split sft, which take the wrong route of their question:
what a policy learns that errs systematically. Stories have no figure. `splits` says which problem is of which split.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

from mmprm.data.problem import Problem
from mmprm.mini.families import FAMILIES, IN_DOMAIN, OUT_OF_DOMAIN, MiniTask
from mmprm.mini.splits import SPLITS, draw_task, split_of, split_of_story
from mmprm.mini.statements import solve, some_operation, some_reading
from mmprm.mini.stories import STORIES
from mmprm.model.step_text import render_solution
from mmprm.runtime.errors import UserError

__all__ = ["ALL_FAMILIES", "FAMILIES", "IN_DOMAIN", "OUT_OF_DOMAIN", "SPLITS", "draw_task", "generate", "split_of"]

_CHECK = "check"
ALL_FAMILIES = (*FAMILIES, _CHECK, *STORIES)
_TRIES = 2_000  # to draw a problem that is not drawn yet


def generate(split: str, size: int, families: Sequence[str], seed: int, wrong_routes: float = 0.0) -> list[Problem]:
    """Generate `size` problems with solutions, of the families in turn; UserError if a family has too few.

    In the split sft, figures may share their values (each is drawn and solved anew); in the others, and among stories,
    no two problems do. wrong_routes: the share of the solutions that take their question's wrong route and end at a
    wrong answer, beside the right gold answer; a larger share adds to those of a smaller one, and figures stay.
    UserError where a family has no wrong route.
    """
    straight = [family for family in families if family not in FAMILIES or not FAMILIES[family].wrong]
    if wrong_routes and straight:
        raise UserError(f"wrong_routes: the mini family {straight[0]} has no wrong route")
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
                task, problem = _solved_problem(name, family, split, rng, seen)
                aside = random.Random(f"{seed}/{name}/wrong route")
                problems.append(misled(problem, task, aside) if aside.random() < wrong_routes else problem)
    return problems


def misled(problem: Problem, task: MiniTask, rng: random.Random) -> Problem:
    """Return the problem with a solution by the wrong route, unless that ends at the right answer by chance."""
    route = FAMILIES[str(problem.family)].wrong[task.question]
    steps, answer = solve(replace(task, routes=(route,)), rng)
    return problem if answer == problem.answer else replace(problem, solution=render_solution(steps, answer))


def _solved_problem(name: str, family: str, split: str, rng: random.Random, seen: set[str]) -> tuple[MiniTask, Problem]:
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
    return task, _problem(name, family, task.question, steps, answer, (image,))


def _told_problem(name: str, family: str, split: str, rng: random.Random, seen: set[str]) -> Problem:
    """Make a problem of one of STORIES, whose question none of `seen` is."""
    for _ in range(_TRIES):
        story = STORIES[family](rng)
        if split_of_story(family, story) == split and story.question not in seen:
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
