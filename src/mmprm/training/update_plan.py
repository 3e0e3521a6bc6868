"""Which examples make up which micro-batch, for the whole training. In: Examples, settings. Out: lists of indices.

The loss is a mean over the labels of an update, so how an update is cut into micro-batches is no concern of the result,
nor is the number of processes.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Sequence
from typing import Any

from mmprm.config.training import Training
from mmprm.training.example_store import ExampleIndex
from mmprm.training.examples import Example


def update_plan(
    examples: Sequence[Example],
    training: Training,
    processes: int,
    seed: int,
    whole_problems: bool = False,
    packed_tokens: int | None = None,
) -> tuple[list[list[int]], int]:
    """The micro-batches of the whole training, by index of their examples; and how many make an update.

    Every so many consecutive entries are one update of training.batch_size examples, or of about training.batch_labels
    labels (the last update may be smaller). The epochs are shuffled each for itself, one after another, cut into
    updates; within an update examples are sorted by length, so that a micro-batch holds little padding. Where an update
    has fewer examples than there are processes, ~index stands for that example without its labels.

    With `packed_tokens` a micro-batch has about as many tokens as the others of its update, and no more than that
    (or than the longest example), in place of training.micro_batch_size examples.
    With `whole_problems` problems are shuffled, and the examples of one stay beside each other.
    """
    order: list[int] = []
    rng = random.Random(f"order/{seed}")
    wanted = max(1, round(training.epochs * len(examples)))
    groups: dict[Any, list[int]] = {}
    outline = ExampleIndex.of(examples)
    for index, problem_id in enumerate(outline.problem_ids):
        groups.setdefault(problem_id if whole_problems else index, []).append(index)
    while len(order) < wanted:
        epoch = list(groups.values())
        rng.shuffle(epoch)
        order += itertools.chain.from_iterable(epoch)
    updates = _updates(order[:wanted], outline.n_labels, training)[: training.max_steps]
    lengths = list(outline.lengths)
    lengths += reversed(lengths)  # so that ~index, too, finds its example's
    if packed_tokens is None:
        needed = [math.ceil(len(update) / training.micro_batch_size) for update in updates]
    else:
        needed = [_fewest_packs(update, lengths, packed_tokens) for update in updates]
    parts = max(math.ceil(count / processes) for count in needed) * processes
    # Each update but the last is cut into equally many micro-batches, none of them empty.
    fewest = min((len(update) for update in updates[:-1]), default=parts)
    parts = min(parts, max(1, fewest // processes) * processes)
    plan: list[list[int]] = []
    for update in updates:
        if not whole_problems:
            update.sort(key=lambda index: (-lengths[index], index))
        update.extend([~update[0]] * (processes - len(update)))  # too few for a micro-batch each: these keep company
        count = min(parts, len(update) // processes * processes)
        if packed_tokens is not None:
            plan += _packs(update, lengths, count)
            continue
        bounds = [round(part * len(update) / count) for part in range(count + 1)]
        plan += [update[low:high] for low, high in itertools.pairwise(bounds)]
    return plan, parts


def examples_by_update(plan: Sequence[Sequence[int]], parts: int) -> list[list[int]]:
    """The examples of each update of a plan with so many micro-batches an update: the same for all processes."""
    starts = range(0, len(plan), parts)
    return [sorted(i for part in plan[start : start + parts] for i in part if i >= 0) for start in starts]


def _updates(order: Sequence[int], labels: Sequence[int], training: Training) -> list[list[int]]:
    """The order cut into updates: by examples, or where an update's labels have come to batch_labels."""
    if training.batch_labels is None:
        starts = range(0, len(order), training.batch_size)
        return [list(order[start : start + training.batch_size]) for start in starts]
    updates: list[list[int]] = [[]]
    found = 0
    for index in order:
        if found >= training.batch_labels:
            updates.append([])
            found = 0
        updates[-1].append(index)
        found += labels[index]
    return updates


def _packs(update: Sequence[int], lengths: Sequence[int], count: int) -> list[list[int]]:
    """An update in `count` parts of about as many tokens: the longest example first, each to the shortest part so far.

    None is empty where count is at most the number of examples.
    """
    packs: list[list[int]] = [[] for _ in range(count)]
    sizes = [(0, part) for part in range(count)]
    for index in sorted(update, key=lambda index: (-lengths[index], index)):
        size, part = sizes[0]
        packs[part].append(index)
        heapq.heapreplace(sizes, (size + lengths[index], part))
    return packs


def _fewest_packs(update: Sequence[int], lengths: Sequence[int], budget: int) -> int:
    """The fewest `_packs` of an update that have at most `budget` tokens each (or as many as its longest example)."""
    most = max(budget, *(lengths[index] for index in update))
    count = math.ceil(sum(lengths[index] for index in update) / most)
    while any(sum(lengths[index] for index in pack) > most for pack in _packs(update, lengths, count)):
        count += 1
    return count
