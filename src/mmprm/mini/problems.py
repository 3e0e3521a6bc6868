"""The mini world: drawn K-12 style problems whose splits never overlap. In: split, size, families, seed. Out: problems.

A problem is its family, question and values. A hash of these puts it into one split for ever, whatever the seed, so
that no figure of the test split was ever seen in training, in seeds or in the base model's lessons.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

from mmprm.data.problem import Problem
from mmprm.mini import checking
from mmprm.mini.families import FAMILIES, IN_DOMAIN, OUT_OF_DOMAIN, Task
from mmprm.mini.solutions import solve
from mmprm.model.step_text import render_solution
from mmprm.runtime.errors import UserError

__all__ = ["ALL_FAMILIES", "FAMILIES", "IN_DOMAIN", "OUT_OF_DOMAIN", "SPLITS", "draw_task", "generate", "split_of"]

ALL_FAMILIES = (*FAMILIES, checking.NAME)
_TRIES = 2_000  # to draw a problem that was not drawn before

# Shares of all problems, in hundredths.
SPLITS = {"sft": 50, "seeds": 25, "dev": 8, "test": 17}


def split_of(family: str, task: Task) -> str:
    """The split that a problem belongs to, by a hash of its family, question and values."""
    key = f"{family}|{task.question}|{sorted(task.readings.items())}"
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 100
    for split, share in SPLITS.items():
        if place < share:
            return split
        place -= share
    raise AssertionError("the shares add up to 100")


def draw_task(family: str, split: str, rng: random.Random) -> Task:
    """A task of the family that belongs to the split."""
    while True:
        task = FAMILIES[family].task(rng)
        if split_of(family, task) == split:
            return task


def generate(split: str, size: int, families: Sequence[str], seed: int) -> list[Problem]:
    """`size` problems with right solutions, the families in turn. In the split sft figures may share their values (each
    is drawn and solved anew); elsewhere no two problems do. UserError where a family has too few."""
    problems = []
    for index, family in enumerate(families):
        rng = random.Random(f"{seed}/{split}/{family}")
        seen: set[str] = set()
        for number in range(len(range(index, size, len(families)))):
            name = f"{family}-{split}-{number:05d}"
            problems.append(_check(name, split, rng) if family == checking.NAME else _solve(name, split, rng, seen))
    return problems


def _solve(name: str, split: str, rng: random.Random, seen: set[str]) -> Problem:
    """A problem of one of FAMILIES; `seen` holds those of the family that were drawn before."""
    family = name.partition("-")[0]
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
    return _problem(name, family, task.question, steps, answer, image)


def _check(name: str, split: str, rng: random.Random) -> Problem:
    """A problem of the family check, on a figure of the split."""
    family = rng.choice(list(FAMILIES))
    made = checking.check(family, draw_task(family, split, rng), rng)
    return _problem(name, checking.NAME, made.question, made.steps, made.answer, made.image)


def _problem(name: str, family: str, question: str, steps: Sequence[str], answer: str, image: bytes) -> Problem:
    return Problem(
        problem_id=name,
        source="mini",
        question=question,
        answer=answer,
        images=(image,),
        answer_type="number",
        solution=render_solution(steps, answer),
        family=family,
    )
