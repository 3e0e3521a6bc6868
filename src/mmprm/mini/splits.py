"""Which split a drawn problem is of. In: a family, and a task or a story. Out: a split, by a hash, for all seeds.

Figures are divided, not problems: a figure, its mirror twins and whatever else can be asked of them are of one split.
So no figure of the splits seeds, dev, test and sealed is among the solutions that a policy learns, not even under
another question.

The base model was taught on an earlier division, by family, question and values, in narrower ranges. It stays here, so
that the base can be made again, and no problem that the base was taught is in another split than sft.
"""

import hashlib
import random
from collections.abc import Mapping, Sequence
from functools import lru_cache

from mmprm.mini.families import FAMILIES, MiniTask
from mmprm.mini.stories import Story

# Shares in percent. `sealed` is for tests that are looked at once: its problems are drawn by a seed of their own.
SPLITS = {"sft": 34, "seeds": 14, "dev": 10, "test": 20, "sealed": 22}
STORY_SPLITS = {"sft": 50, "seeds": 25, "dev": 8, "test": 8, "sealed": 9}
LESSON_SPLITS = {"sft": 50, "seeds": 25, "dev": 8, "test": 17}


def _by_hash(key: str, shares: Mapping[str, int]) -> str:
    """Return the split of a key: the shares, in percent, in their order."""
    remainder = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 100
    for split, share in shares.items():
        if remainder < share:
            return split
        remainder -= share
    raise AssertionError("the shares add up to 100")


@lru_cache(maxsize=16)
def _orders(family: str) -> tuple[tuple[int, ...], ...]:
    """Return the orders of a figure's values that make its twins, as places among the family's quantities."""
    names = list(FAMILIES[family].ranges)
    swaps = [tuple(map(names.index, twin)) for twin in FAMILIES[family].twins]
    orders = [tuple(range(len(names)))]
    for order in orders:  # grows while it is read: swaps of swaps too
        orders += [made for swap in swaps if (made := tuple(order[place] for place in swap)) not in orders]
    return tuple(orders)


def figure_key(family: str, readings: Mapping[str, int]) -> tuple[int, ...]:
    """Return what a figure and its twins have in common: the least of their values, in the family's order."""
    values: Sequence[int] = [readings[name] for name in FAMILIES[family].ranges]
    return min(tuple(values[place] for place in order) for order in _orders(family))


def split_of(family: str, task: MiniTask) -> str | None:
    """Return the split of a problem, by its figure; None where it is held out but was taught to the base model."""
    split = _by_hash(f"figure|{family}|{figure_key(family, task.readings)}", SPLITS)
    return None if split != "sft" and lesson_split(family, task) == "sft" else split


def split_of_story(family: str, story: Story) -> str:
    """Return the split of a story, by its question."""
    return _by_hash(f"{family}|{story.question}|[]", STORY_SPLITS)


def lesson_split(family: str, task: MiniTask) -> str | None:
    """Return the split of a problem among the base model's lessons; None where these have no such values."""
    limits = FAMILIES[family].in_lessons
    if not all(low <= task.readings[name] <= high for name, (low, high) in limits.items()):
        return None
    return _by_hash(f"{family}|{task.question}|{sorted(task.readings.items())}", LESSON_SPLITS)


def draw_task(family: str, split: str, rng: random.Random) -> MiniTask:
    """Draw a task of the family that belongs to the split."""
    while True:
        task = FAMILIES[family].task(rng)
        if split_of(family, task) == split:
            return task


def draw_lesson_task(family: str, split: str, rng: random.Random) -> MiniTask:
    """Draw a task for a lesson of the base model; split: of LESSON_SPLITS."""
    while True:
        task = FAMILIES[family].task(rng, FAMILIES[family].in_lessons)
        if lesson_split(family, task) == split:
            return task
