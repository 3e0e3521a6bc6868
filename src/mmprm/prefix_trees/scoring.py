"""Scores at every marker with transformers, a problem's solutions as one prefix tree, several trees a forward pass.

In: a PRM folder, (problem, steps, answer). Out: StepScores. The numbers of `scoring.TransformersScorer`, which reads
one solution at a time (a test), for a fraction of the tokens.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmprm.data.problem import Problem
from mmprm.model import folders
from mmprm.model.step_text import MARKER, NO, YES, Renderer, control_ids
from mmprm.model.tokens import image_inputs, tokenise
from mmprm.prefix_trees import attention, packing
from mmprm.prefix_trees.positions import TreePositions
from mmprm.prm.step_scores import StepScores

Item = tuple[Problem, tuple[str, ...], str | None]
BUDGET = 4096  # tokens of a forward pass


@dataclass(frozen=True)
class _Tree:
    """Solutions of one problem; `items` tells which, in the order of packed.places."""

    items: list[int]
    packed: packing.Packed
    images: tuple[bytes, ...]


class TreeScorer:
    """A PRM in transformers; `prompt_tokens` counts what it has read, shared tokens once.

    A model that tree packing does not know (`packing.packs`) is read one path at a time, as trees without branches.
    """

    def __init__(
        self, folder: Path, instruction: str = "", dtype: str = "auto", longest: int = 2**20, budget: int = BUDGET
    ) -> None:
        self.prompt_tokens = 0
        self._processor = folders.load_processor(folder)
        ids = control_ids(self._processor.tokenizer)
        self._marker = ids[MARKER]
        self._read = [ids[NO], ids[YES], *([ids[MARKER]] if folders.learnt_counts(folder) else [])]
        self._renderer = Renderer(self._processor, instruction)
        self._longest = min(longest, folders.longest_input(folder))
        self._budget = budget
        self._device = folders.device()
        self._model = folders.load_model(folder, folders.working_dtype(dtype, self._device), self._device)
        self._packs = packing.packs(self._model)
        self._positions = TreePositions(self._model)
        if self._packs:
            attention.install(self._model)

    def score(self, items: Sequence[Item]) -> list[StepScores]:
        """See scoring.Scorer. Problems share a forward pass as long as their trees fit into the budget."""
        scores = [StepScores() for _ in items]
        of_problem: dict[str, list[int]] = defaultdict(list)
        for index, (problem, _, _) in enumerate(items):
            of_problem[problem.fingerprint].append(index)
        batch: list[_Tree] = []
        for indices in of_problem.values():
            for tree in self._trees(items, indices):
                if batch and sum(other.packed.length for other in batch) + tree.packed.length > self._budget:
                    self._forward(batch, scores)
                    batch = []
                batch.append(tree)
                if not self._packs:
                    self._forward(batch, scores)
                    batch = []
        if batch:
            self._forward(batch, scores)
        return scores

    def _trees(self, items: Sequence[Item], indices: list[int]) -> Iterator[_Tree]:
        texts = [self._renderer.marked(*items[index]) for index in indices]
        images = items[indices[0]][0].images
        paths = list(tokenise(self._processor, texts, [images] * len(texts)))
        fitting = [place for place, path in enumerate(paths) if len(path["input_ids"]) <= self._longest]
        budget = self._budget if self._packs else 0
        for group, packed in packing.pack_within([paths[place] for place in fitting], budget):
            yield _Tree([indices[fitting[place]] for place in group], packed, images)

    def _forward(self, trees: list[_Tree], scores: list[StepScores]) -> None:
        """Put the scores of the trees' items into their places."""
        import torch

        packed = packing.join([tree.packed for tree in trees])
        self.prompt_tokens += packed.length
        markers = np.flatnonzero(packed.tokens["input_ids"] == self._marker)
        if not len(markers):
            return
        inputs = image_inputs(self._processor, [tree.images for tree in trees], packed.tokens)
        if self._packs:
            counts = [len(tree.images) for tree in trees]
            positions = self._positions([tree.packed for tree in trees], counts, inputs)
            inputs |= attention.model_inputs(packed, positions, self._device)
        else:  # the model's own mask and positions are those of the one path
            inputs |= {name: torch.from_numpy(values)[None] for name, values in packed.tokens.items()}
        inputs["logits_to_keep"] = torch.from_numpy(markers)
        with torch.inference_mode():
            found = StepScores.of_logits(self._model(**self._to_device(inputs)).logits[0][:, self._read])
        indices = [index for tree in trees for index in tree.items]
        for index, place in zip(indices, packed.places, strict=True):
            scores[index] = found.at(np.searchsorted(markers, place[np.isin(place, markers)]).tolist())

    def _to_device(self, values: Any) -> Any:
        """Tensors on the model's device, those of floating point in its dtype; containers element by element."""
        if isinstance(values, dict):
            return {name: self._to_device(value) for name, value in values.items()}
        if isinstance(values, list | tuple):
            return [self._to_device(value) for value in values]
        return values.to(self._device, dtype=self._model.dtype if values.is_floating_point() else None)

    def close(self) -> None:
        """Free the model."""
        del self._model, self._positions
