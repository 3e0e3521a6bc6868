"""Micro-batches of packed sequences: one after another, none seeing another. In: Examples of the policy. Out: a batch.

Loss and gradients are those of padded sequences (a test), without the padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mmprm.training import data
from mmprm.training.tree_batches import TreeCollator


class PackedCollator:
    """Lays a micro-batch out as one sequence: a tree without branches for each example.

    Out: as TreeCollator, but `labels` (1, 1 + m) are the tokens that the logits at `logits_to_keep` (m,) predict.
    """

    def __init__(self, processor: Any, model: Any, device: str = "cpu") -> None:
        self._lay_out = TreeCollator(processor, model, device)

    def __call__(self, items: Sequence[Sequence[tuple[int, data.Example]]]) -> dict[str, Any]:
        rows = [row for item in items for row in item]
        # A name of its own for each keeps examples of one problem apart.
        batch = self._lay_out([[(index, _shifted(example, str(row))) for row, (index, example) in enumerate(rows)]])
        return batch | {"labels": batch["labels"].long()}  # they come as float32, which is exact up to 2^24


def _shifted(example: data.Example, name: str) -> data.Example:
    """The example with each label one token earlier, where the logits are that predict it."""
    return replace(example, problem_id=name, labels=np.append(example.labels[1:], int(data.IGNORE)))
