"""P(yes) at every marker with transformers, a problem's solutions packed as one prefix tree.

In: a PRM folder, (problem, steps, answer). Out: lists. The numbers of `scoring.TransformersScorer`, which reads one
solution at a time (a test), for a fraction of the tokens.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmprm import models
from mmprm.problem import Problem
from mmprm.solution import MARKER, NO, YES, Renderer, control_ids
from mmprm.training import data, packing

Item = tuple[Problem, tuple[str, ...], str | None]
BUDGET = 4096  # tokens of a tree: its dense mask has the square of them


class TreeScorer:
    """A PRM in transformers; `prompt_tokens` counts what it has read, shared tokens once.

    A model that tree packing does not know (`packing.packs`) is read one path at a time, as trees without branches.
    """

    def __init__(
        self, folder: Path, instruction: str = "", dtype: str = "auto", longest: int = 2**20, budget: int = BUDGET
    ) -> None:
        self.prompt_tokens = 0
        self._processor = models.load_processor(folder)
        self._ids = control_ids(self._processor.tokenizer)
        self._renderer = Renderer(self._processor, instruction)
        self._images = data.Collator(self._processor, shift=0).images
        self._longest = min(longest, models.longest_input(folder))
        self._budget = budget
        self._device = models.device()
        self._model = models.load_model(folder, models.working_dtype(dtype, self._device), self._device)
        self._packs = packing.packs(self._model)

    def score(self, items: Sequence[Item]) -> list[list[float]]:
        """See scoring.Scorer."""
        scores: list[list[float]] = [[] for _ in items]
        of_problem: dict[str, list[int]] = defaultdict(list)
        for index, (problem, _, _) in enumerate(items):
            of_problem[problem.fingerprint].append(index)
        for indices in of_problem.values():
            for index, values in self._score_problem(items, indices):
                scores[index] = values
        return scores

    def _score_problem(self, items: Sequence[Item], indices: list[int]) -> list[tuple[int, list[float]]]:
        texts = [self._renderer.marked(*items[index]) for index in indices]
        images = items[indices[0]][0].images
        paths = list(data.tokenise(self._processor, texts, [images] * len(texts)))
        fitting = [place for place, path in enumerate(paths) if len(path["input_ids"]) <= self._longest]
        found = []
        budget = self._budget if self._packs else 0
        for group in packing.split([paths[place] for place in fitting], budget):
            chosen = [fitting[place] for place in group]
            probabilities = self._forward([paths[place] for place in chosen], images)
            found += [(indices[place], values) for place, values in zip(chosen, probabilities, strict=True)]
        return found

    def _forward(self, paths: list[packing.Path], images: tuple[bytes, ...]) -> list[list[float]]:
        import torch

        packed = packing.pack(paths)
        self.prompt_tokens += packed.length
        markers = np.flatnonzero(packed.tokens["input_ids"] == self._ids[MARKER])
        if not len(markers):
            return [[] for _ in paths]
        inputs = packing.model_inputs(packed)
        if not self._packs:  # the model's own mask and positions are those of the one path
            del inputs["attention_mask"], inputs["position_ids"]
        inputs |= self._images([images], packed.tokens)
        inputs["logits_to_keep"] = torch.from_numpy(markers)
        # The mask is of bool, and stays so.
        inputs = {name: self._to_device(values) for name, values in inputs.items()}
        with torch.inference_mode():
            logits = self._model(**inputs).logits[0][:, [self._ids[NO], self._ids[YES]]]
        p = np.full(packed.length, np.nan)
        p[markers] = logits.double().softmax(dim=-1)[:, 1].cpu().numpy()
        on_path = [place[np.isin(place, markers)] for place in packed.places]
        return [p[places].tolist() for places in on_path]

    def _to_device(self, values: Any) -> Any:
        return values.to(self._device, dtype=self._model.dtype if values.is_floating_point() else None)

    def close(self) -> None:
        """Free the model."""
        del self._model
