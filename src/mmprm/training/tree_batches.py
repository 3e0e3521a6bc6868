"""Micro-batches of trees: a problem's paths are one prefix tree, each shared token once. In: Examples. Out: a batch.

Loss and gradients are those of one sequence a path (a test): a marker that several paths share stands once in the
tokens, and once for each of them among the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmprm.training import data, packing, tree_attention


class TreeCollator:
    """Lays a micro-batch out as one sequence of trees.

    Out: the model's inputs (1, n); `labels` (1, 1 + m), the m labels of all paths behind one that is ignored;
    `logits_to_keep` (m,), the positions of their markers, some of them several times; `examples`, the paths' indices.
    """

    def __init__(self, processor: Any) -> None:
        self._images = data.Collator(processor, shift=0).images

    def __call__(self, items: Sequence[Sequence[tuple[int, data.Example]]]) -> dict[str, Any]:
        import torch

        rows = [row for item in items for row in item]
        of_problem: dict[str, list[data.Example]] = {}
        for _, example in rows:
            of_problem.setdefault(example.problem_id, []).append(example)
        packed = packing.join([packing.pack([path.tokens for path in paths]) for paths in of_problem.values()])
        paths = [path for group in of_problem.values() for path in group]  # as their places are ordered
        known = [path.labels != data.IGNORE for path in paths]
        # Trainer leaves the first column out when it counts an update's labels: in its own layout nothing precedes it.
        labels = np.concatenate(
            [[data.IGNORE], *(path.labels[labelled] for path, labelled in zip(paths, known, strict=True))]
        )
        places = np.concatenate([place[labelled] for place, labelled in zip(packed.places, known, strict=True)])
        trials = {}
        if paths[0].trials is not None:
            of_labels = [
                path.trials[labelled] for path, labelled in zip(paths, known, strict=True) if path.trials is not None
            ]
            trials["trials"] = torch.from_numpy(np.concatenate([[1], *of_labels]).astype(np.float32))[None]
        return {
            **trials,
            **self._images([group[0].images for group in of_problem.values()], packed.tokens),
            **tree_attention.model_inputs(packed),
            "labels": torch.from_numpy(labels.astype(np.float32))[None],
            "logits_to_keep": torch.from_numpy(places),
            "examples": torch.tensor([index for index, _ in rows]),
        }
