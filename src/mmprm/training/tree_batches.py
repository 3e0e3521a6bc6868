"""Micro-batches of trees: a problem's paths are one prefix tree, each shared token once. In: Examples. Out: a batch.

Loss and gradients are those of one sequence a path (a test): a marker that several paths share stands once in the
tokens, and once for each of them among the labels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mmprm.model.tokens import image_inputs
from mmprm.prefix_trees import attention, packing
from mmprm.prefix_trees.positions import TreePositions
from mmprm.training import data


class TreeCollator:
    """Lays a micro-batch out as one sequence of trees.

    Out: `model`'s inputs (1, n), each tree's images once; `labels` (1, 1 + m), the m labels of all paths behind one
    that is ignored; `logits_to_keep` (m,), the positions of their markers, some of them several times; `examples`, the
    paths' indices. device: where the model computes, see attention.model_inputs.
    """

    def __init__(self, processor: Any, model: Any, device: str = "cpu") -> None:
        self._device = device
        self._positions = TreePositions(model)
        self._processor = processor

    def __call__(self, items: Sequence[Sequence[tuple[int, data.Example]]]) -> dict[str, Any]:
        import torch

        rows = [row for item in items for row in item]
        of_problem: dict[str, list[data.Example]] = {}
        for _, example in rows:
            of_problem.setdefault(example.problem_id, []).append(example)
        groups = list(of_problem.values())
        of_trees = [group[0].images for group in groups]
        images = image_inputs(self._processor, of_trees, groups[0][0].tokens)
        positions = functools.partial(self._positions, counts=[len(own) for own in of_trees], images=images)
        return {
            **images,
            **laid_out(groups, positions, self._device),
            "examples": torch.tensor([index for index, _ in rows]),
        }


def laid_out(
    groups: Sequence[Sequence[data.Example]],
    positions: Callable[[Sequence[packing.Packed]], Any] | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Each group of examples as a tree, all in one sequence: what TreeCollator gives but images and examples.

    Groups of one example each are ordinary packing. positions: gives the trees' position_ids; without, the depths.
    """
    import torch

    trees = [packing.pack([path.tokens for path in group]) for group in groups]
    packed = packing.join(trees)
    paths = [path for group in groups for path in group]  # as their places are ordered
    known = [path.labels != data.IGNORE for path in paths]

    def of_labels(first: float, values: Sequence[np.ndarray]) -> Any:
        # Trainer leaves the first column out when it counts an update's labels: in its own layout nothing precedes it.
        chosen = [row[labelled] for row, labelled in zip(values, known, strict=True)]
        return torch.from_numpy(np.concatenate([[first], *chosen]).astype(np.float32))[None]

    batch = {
        **attention.model_inputs(packed, positions(trees) if positions else None, device),
        "labels": of_labels(data.IGNORE, [path.labels for path in paths]),
        "logits_to_keep": torch.from_numpy(
            np.concatenate([place[labelled] for place, labelled in zip(packed.places, known, strict=True)])
        ),
    }
    trials = [path.trials for path in paths if path.trials is not None]
    if trials:
        batch["trials"] = of_labels(1, trials)
    return batch
