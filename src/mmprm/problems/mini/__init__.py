"""The mini world: drawn K-12 style problems whose splits never overlap. In: split, size, families, seed. Out: problems.

A problem is its family, question and values. A hash of these puts it into one split for ever, whatever the seed, so
that no figure of the test split was ever seen in training, in seeds or in the base model's lessons.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

from mmprm.errors import UserError
from mmprm.problem import Problem
from mmprm.problems.mini.families import FAMILIES, IN_DOMAIN, OUT_OF_DOMAIN, Task
from mmprm.problems.mini.wording import solve
from mmprm.solution import render_solution

__all__ = ["FAMILIES", "IN_DOMAIN", "OUT_OF_DOMAIN", "SPLITS", "draw_task", "generate", "split_of"]

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
        misses = 0
        for number in range(len(range(index, size, len(families)))):
            while True:
                task = draw_task(family, split, rng)
                key = f"{task.question}{sorted(task.readings.items())}"
                if split == "sft" or key not in seen:
                    break
                misses += 1
                if misses > 20_000:
                    raise UserError(f"the mini family {family} has no more than {len(seen)} problems of split {split}")
            seen.add(key)
            steps, answer = solve(task, rng)
            problems.append(
                Problem(
                    problem_id=f"{family}-{split}-{number:05d}",
                    source="mini",
                    question=task.question,
                    answer=answer,
                    images=(FAMILIES[family].draw(task.readings, rng).png(),),
                    answer_type="number",
                    solution=render_solution(steps, answer),
                    family=family,
                )
            )
    return problems
