"""PRMs that score solutions in transformers: the plain reference, and prefix trees. In: a PRM folder. Out: StepScores.

The texts come from `step_text.Renderer`, as in training.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmprm.engine.decoding import TooLongError
from mmprm.model import folders
from mmprm.model.output_rows import read_only
from mmprm.model.step_text import Renderer
from mmprm.model.tokens import image_inputs, tokenise
from mmprm.prefix_trees import attention, packing
from mmprm.prm.step_scores import Input, Item, StepScores, scored_tokens

BUDGET = 4096  # tokens of a forward pass of TreeScorer


class TransformersScorer:
    """Scores with transformers, one item a forward pass: the plain reference for the other scorers."""

    def __init__(self, folder: Path, instruction: str = "", dtype: str = "auto", max_model_len: int = 2**20) -> None:
        from mmprm.engine.transformers_engine import TransformersModel

        self.prompt_tokens = 0
        self._model = TransformersModel(folder, instruction, dtype, max_model_len)
        tokens = scored_tokens(folder, self._model.processor.tokenizer)
        self._marker = tokens.marker
        read_only(self._model.model, tokens.read)

    def score(self, items: Sequence[Item]) -> list[StepScores]:
        """Score the items (see `Scorer`)."""
        return [self._score(item) for item in items]

    def _score(self, item: Item) -> StepScores:
        import torch

        try:
            inputs = self._model.inputs(self._model.renderer.marked(*item), item[0], room=0)
        except TooLongError:
            return StepScores()
        ids = inputs["input_ids"][0]
        self.prompt_tokens += len(ids)
        markers = (ids == self._marker).nonzero()[:, 0]
        with torch.inference_mode():
            logits = self._model.model(**inputs, logits_to_keep=markers).logits[0]
        return StepScores.of_logits(logits, Input.of(ids.cpu()))

    def close(self) -> None:
        """Free the model."""
        del self._model


@dataclass(frozen=True)
class _Tree:
    """Solutions of one problem: `items` are their indices, in the order of packed.path_indices."""

    items: list[int]
    packed: packing.Packed
    images: tuple[bytes, ...]


class TreeScorer:
    """Scores with transformers, a problem's solutions as one prefix tree, several trees a forward pass.

    The scores are those of `TransformersScorer` (a test), for a fraction of the tokens: shared ones are read once. A
    model that cannot read trees (`packing.supports`) reads one path at a time, as trees without branches.
    """

    def __init__(
        self, folder: Path, instruction: str = "", dtype: str = "auto", longest: int = 2**20, budget: int = BUDGET
    ) -> None:
        self.prompt_tokens = 0
        self._processor = folders.load_processor(folder)
        tokens = scored_tokens(folder, self._processor.tokenizer)
        self._marker = tokens.marker
        self._renderer = Renderer(self._processor, instruction)
        self._longest = min(longest, folders.longest_input(folder))
        self._budget = budget
        self._device = folders.device()
        self._model = folders.load_model(folder, folders.working_dtype(dtype, self._device), self._device)
        read_only(self._model, tokens.read)
        self._packs = packing.supports(self._model)
        self._positions = packing.TreePositions(self._model)
        if self._packs:
            attention.install(self._model)

    def score(self, items: Sequence[Item]) -> list[StepScores]:
        """Score the items (see `Scorer`). Problems share a forward pass as long as their trees fit into the budget."""
        scores = [StepScores() for _ in items]
        by_problem: dict[str, list[int]] = defaultdict(list)
        for index, (problem, _, _) in enumerate(items):
            by_problem[problem.fingerprint].append(index)
        batch: list[_Tree] = []
        for indices in by_problem.values():
            for tree in self._trees(items, indices):
                tokens = sum(each.packed.length for each in (*batch, tree))
                if batch and (tokens > self._budget or not self._packs):
                    self._forward(batch, scores)
                    batch = []
                batch.append(tree)
        if batch:
            self._forward(batch, scores)
        return scores

    def _trees(self, items: Sequence[Item], indices: list[int]) -> Iterator[_Tree]:
        texts = [self._renderer.marked(*items[index]) for index in indices]
        images = items[indices[0]][0].images
        tokenised = zip(indices, tokenise(self._processor, texts, [images] * len(texts)), strict=True)
        fitting = [(index, tokens) for index, tokens in tokenised if len(tokens["input_ids"]) <= self._longest]
        budget = self._budget if self._packs else 0
        for group, packed in packing.pack_within([tokens for _, tokens in fitting], budget):
            yield _Tree([fitting[path][0] for path in group], packed, images)

    def _forward(self, trees: list[_Tree], scores: list[StepScores]) -> None:
        """Read the trees, and set the scores of their items."""
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
        else:  # a single path: the model makes mask and positions itself
            inputs |= {name: torch.from_numpy(values)[None] for name, values in packed.tokens.items()}
        inputs["logits_to_keep"] = torch.from_numpy(markers)
        with torch.inference_mode():
            logits = self._model(**self._to_device(inputs)).logits[0]
        at_markers = StepScores.of_logits(logits)
        items = [item for tree in trees for item in tree.items]
        for item, indices in zip(items, packed.path_indices, strict=True):
            read = Input.of(packed.tokens["input_ids"][indices])
            scores[item] = at_markers.at(np.searchsorted(markers, indices[np.isin(indices, markers)]).tolist(), read)

    def _to_device(self, values: Any) -> Any:
        """Move tensors to the model's device, floating-point ones in its dtype; containers element by element."""
        if isinstance(values, dict):
            return {name: self._to_device(value) for name, value in values.items()}
        if isinstance(values, list | tuple):
            return [self._to_device(value) for value in values]
        return values.to(self._device, dtype=self._model.dtype if values.is_floating_point() else None)

    def close(self) -> None:
        """Free the model."""
        del self._model, self._positions
