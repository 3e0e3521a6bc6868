"""Which examples form which micro-batch, for the whole training. In: Examples, settings. Out: lists of indices.

The loss is a mean over an update's labels: neither its micro-batches nor the number of processes affect the result.
Every process makes the plan of all, so its lists are arrays of 32-bit integers: of five million examples some 100 MB.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from array import array
from collections.abc import Sequence

from mmprm.config.training import Training
from mmprm.training.example_store import ExampleIndex
from mmprm.training.examples import Example


def update_plan(
    examples: Sequence[Example] | ExampleIndex,
    training: Training,
    processes: int,
    seed: int,
    group_problems: bool = False,
    packed_tokens: int | None = None,
) -> tuple[list[array[int]], int]:
    """Return the micro-batches of the whole training, as indices of examples, and how many make an update.

    An update has training.batch_size examples, or about training.batch_labels labels (the last may be smaller). Each
    epoch is shuffled, then the epochs, one after another, are divided. Within an update examples are sorted by length,
    to save padding. ~index is an example without its labels, where there are more processes than examples.

    packed_tokens: micro-batches have about the same number of tokens, at most this many (or those of the longest
    example), instead of training.micro_batch_size examples. group_problems: shuffle problems, not examples.
    """
    index = ExampleIndex.of(examples)
    updates = _updates(_shuffled(index.problem_ids, training.epochs, seed, group_problems), index.n_labels, training)
    lengths = array("i", index.lengths)
    lengths += lengths[::-1]  # so that ~index, too, finds its example's
    if packed_tokens is None:
        needed = [math.ceil(len(update) / training.micro_batch_size) for update in updates]
    else:
        needed = [_fewest_packs(update, lengths, packed_tokens) for update in updates]
    n_parts = max(math.ceil(count / processes) for count in needed) * processes
    # Each update but the last is divided into the same number of micro-batches, none of them empty.
    fewest = min((len(update) for update in updates[:-1]), default=n_parts)
    n_parts = min(n_parts, max(1, fewest // processes) * processes)
    plan: list[array[int]] = []
    for examples_of_update in updates:
        update = list(examples_of_update)
        if not group_problems:
            update.sort(key=lambda index: (-lengths[index], index))
        update.extend([~update[0]] * (processes - len(update)))  # a micro-batch for each process
        count = min(n_parts, len(update) // processes * processes)
        if packed_tokens is not None:
            plan += (array("i", pack) for pack in _packs(update, lengths, count))
            continue
        bounds = [round(part * len(update) / count) for part in range(count + 1)]
        plan += (array("i", update[low:high]) for low, high in itertools.pairwise(bounds))
    return plan, n_parts


def examples_by_update(plan: Sequence[Sequence[int]], n_parts: int) -> list[array[int]]:
    """Return the examples of each update of a plan, which are the same for any number of processes."""
    starts = range(0, len(plan), n_parts)
    return [array("i", sorted(i for part in plan[start : start + n_parts] for i in part if i >= 0)) for start in starts]


def _shuffled(problem_ids: Sequence[str], epochs: float, seed: int, group_problems: bool) -> array[int]:
    """Return the examples of all epochs in training order."""
    rng = random.Random(f"order/{seed}")
    length = max(1, round(epochs * len(problem_ids)))
    groups: dict[str, list[int]] = {}
    for index, problem_id in enumerate(problem_ids if group_problems else ()):
        groups.setdefault(problem_id, []).append(index)
    order = array("i")
    while len(order) < length:
        if group_problems:
            epoch = list(groups.values())
            rng.shuffle(epoch)
            order.extend(itertools.chain.from_iterable(epoch))
        else:
            examples = array("i", range(len(problem_ids)))
            rng.shuffle(examples)
            order += examples
    return order[:length]


def _updates(order: array[int], n_labels: Sequence[int], training: Training) -> list[array[int]]:
    """Divide the order into at most max_steps updates: by batch_size, or each when it has batch_labels labels."""
    if training.batch_labels is None:
        starts = range(0, len(order), training.batch_size)
        return [order[start : start + training.batch_size] for start in starts][: training.max_steps]
    updates: list[array[int]] = []
    labels = 0
    for index in order:
        if not updates or labels >= training.batch_labels:
            updates.append(array("i"))
            labels = 0
        updates[-1].append(index)
        labels += n_labels[index]
    return updates[: training.max_steps]


def _packs(update: Sequence[int], lengths: Sequence[int], count: int) -> list[list[int]]:
    """Divide an update into `count` parts of similar size: the longest example first, each to the smallest so far."""
    packs: list[list[int]] = [[] for _ in range(count)]
    sizes = [(0, part) for part in range(count)]
    for index in sorted(update, key=lambda index: (-lengths[index], index)):
        size, part = sizes[0]
        packs[part].append(index)
        heapq.heapreplace(sizes, (size + lengths[index], part))
    return packs


def _fewest_packs(update: Sequence[int], lengths: Sequence[int], budget: int) -> int:
    """Return the fewest `_packs` of an update with at most `budget` tokens each (or as many as its longest example)."""
    most = max(budget, *(lengths[index] for index in update))
    count = math.ceil(sum(lengths[index] for index in update) / most)
    while any(sum(lengths[index] for index in pack) > most for pack in _packs(update, lengths, count)):
        count += 1
    return count
