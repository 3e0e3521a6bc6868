"""PRMs that score solutions, in vLLM or transformers. In: a PRM folder, solutions. Out: StepScores.

The texts come from `step_text.Renderer`, as in training. vLLM is silently wrong on some model classes, so
`score_candidates` compares it with transformers.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mmprm.config.offline import Settings
from mmprm.data.problem import Problem
from mmprm.engine.decoding import TooLongError
from mmprm.model import folders
from mmprm.model.step_text import MARKER, NO, YES, Renderer, control_ids
from mmprm.model.tokens import image_inputs, tokenise
from mmprm.prefix_trees import attention, packing
from mmprm.training.losses import SMALLEST, concentration

Item = tuple[Problem, tuple[str, ...], str | None]  # a solution to score: problem, steps, answer
BUDGET = 4096  # tokens of a forward pass of TreeScorer


@dataclass(frozen=True)
class StepScores:
    """P(yes) at each marker, in order, and the concentrations there (None if the PRM was not trained on counts).

    A PRM that was trained on counts (`label: counts`; BetaPRM, arXiv 2605.15529) predicts that a state's share of right
    rollouts is distributed as Beta(p κ, (1 - p) κ): p is P(yes), the mean, and κ the concentration. Both are empty if
    the solution is too long for the model.
    """

    probabilities: list[float] = field(default_factory=list)
    concentrations: list[float] | None = None

    @classmethod
    def of_logits(cls, logits: Any) -> StepScores:
        """Compute them from the logits of (No, Yes) or (No, Yes, `<prm>`): (markers, 2) or (markers, 3)."""
        logits = logits.double()
        probabilities = logits[:, :2].softmax(dim=-1)[:, 1].tolist()
        return cls(probabilities, concentration(logits).tolist() if logits.shape[1] > 2 else None)

    def columns(self, counted: bool) -> dict[str, list[float]]:
        """Return the columns of a score table, the concentrations only if the PRM was trained on counts."""
        columns = {"probabilities": self.probabilities}
        return columns | {"concentrations": self.concentrations or []} if counted else columns

    def at(self, markers: Sequence[int]) -> StepScores:
        """Return the scores of some of the markers."""
        concentrations = self.concentrations and [self.concentrations[marker] for marker in markers]
        return StepScores([self.probabilities[marker] for marker in markers], concentrations)


class Scorer(Protocol):
    """A PRM that is loaded. `prompt_tokens` counts the tokens that it has read."""

    prompt_tokens: int

    def score(self, items: Sequence[Item]) -> list[StepScores]:
        """Score each item, in order; an item that is too long for the model gets no probabilities."""

    def close(self) -> None:
        """Free the model."""


def dispersion(concentration: float) -> float:
    """Return 1 / (1 + κ), in (0, 1): the correlation between two rollouts of a state, of variance p (1 - p) times this.

    It moves with the logits no faster than a probability does, so concentrations are compared by it.
    """
    return 1 / (1 + concentration)


def share_above(threshold: float, p: float, concentration: float) -> float:
    """Return the mass of Beta(p κ, (1 - p) κ) above a threshold: 1 - I_threshold(p κ, (1 - p) κ), incomplete beta.

    It is at least c exactly if the lower bound of the one-sided c-credible interval, the quantile 1 - c, is at least
    the threshold. It rises with p. For large κ it is 1 if p is above the threshold and 0 below; for κ to 0, where a
    state is solved always or never, it tends to p.
    """
    from scipy.special import betaincc

    a, b = max(p * concentration, SMALLEST), max((1 - p) * concentration, SMALLEST)
    return float(betaincc(a, b, threshold))


def scored_tokens(folder: Path, tokenizer: Any) -> tuple[int, list[int]]:
    """Return the marker's id, and the ids whose logits a PRM's scores are read from: see StepScores.of_logits."""
    ids = control_ids(tokenizer)
    return ids[MARKER], [ids[NO], ids[YES], *([ids[MARKER]] if folders.trained_on_counts(folder) else [])]


class VllmScorer:
    """Scores with vLLM's pooling runner: the output layer's rows for No and Yes classify the marker's position.

    For a PRM of counts the marker's row is used too, and logits come back.
    """

    def __init__(self, config: Settings, folder: Path) -> None:
        from mmprm.engine.vllm_engine import VllmModel, set_environment

        set_environment(folders.device())
        from vllm.config import PoolerConfig

        self.prompt_tokens = 0
        self._window = 2 * config.engine.max_running
        marker, _ = scored_tokens(folder, folders.load_processor(folder).tokenizer)
        self._counts = folders.trained_on_counts(folder)
        head: dict[str, Any] = {"method": "from_2_way_softmax", "classifier_from_token": [NO, YES], "num_labels": 1}
        if self._counts:
            head = {"method": "no_post_processing", "classifier_from_token": [NO, YES, MARKER], "num_labels": 3}
        # vLLM reads it from the language model's configuration, where the Qwen-VL families do not have it.
        head["tie_word_embeddings"] = folders.ties_embeddings(folder)
        self._model = VllmModel(
            config,
            folder,
            max_num_seqs=config.engine.max_running,
            runner="pooling",
            convert="classify",
            hf_overrides={"num_labels": head["num_labels"], "text_config": head},
            pooler_config=PoolerConfig(task="token_classify", tok_pooling_type="STEP", step_tag_id=marker),
            # Cached tokens are not computed, so they would have no score; neither would those of an earlier chunk.
            enable_prefix_caching=False,
            enable_chunked_prefill=False,
        )

    def score(self, items: Sequence[Item]) -> list[StepScores]:
        """Score the items (see `Scorer`). Keeps the engine's batch full with at most two batches of rendered items."""
        from vllm import PoolingParams

        parameters = PoolingParams(task="token_classify", use_activation=False if self._counts else None)
        scores = [StepScores() for _ in items]
        waiting = deque(enumerate(items))
        running = 0
        while running or waiting:
            while waiting and running < self._window:
                index, item = waiting.popleft()
                try:
                    rendered = self._model.render(self._model.renderer.marked(*item), item[0], room=0)
                except TooLongError:
                    continue
                self._model.engine.add_request(str(index), rendered, parameters)
                running += 1
            for output in self._model.engine.step():
                if output.finished:
                    scores[int(output.request_id)] = self._step_scores(output.outputs.data)
                    self.prompt_tokens += len(output.prompt_token_ids)
                    running -= 1
        return scores

    def _step_scores(self, pooled: Any) -> StepScores:
        return StepScores.of_logits(pooled) if self._counts else StepScores(pooled.double().flatten().tolist())

    def close(self) -> None:
        """Free the model."""
        self._model.close()


class TransformersScorer:
    """Scores with transformers, one item a forward pass: the plain reference for the other scorers."""

    def __init__(self, folder: Path, instruction: str = "", dtype: str = "auto", max_model_len: int = 2**20) -> None:
        from mmprm.engine.transformers_engine import TransformersModel

        self.prompt_tokens = 0
        self._model = TransformersModel(folder, instruction, dtype, max_model_len)
        self._marker, self._read = scored_tokens(folder, self._model.processor.tokenizer)

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
        return StepScores.of_logits(logits[:, self._read])

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
        self._marker, self._read = scored_tokens(folder, self._processor.tokenizer)
        self._renderer = Renderer(self._processor, instruction)
        self._longest = min(longest, folders.longest_input(folder))
        self._budget = budget
        self._device = folders.device()
        self._model = folders.load_model(folder, folders.working_dtype(dtype, self._device), self._device)
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
        at_markers = StepScores.of_logits(logits[:, self._read])
        items = [item for tree in trees for item in tree.items]
        for item, indices in zip(items, packed.path_indices, strict=True):
            scores[item] = at_markers.at(np.searchsorted(markers, indices[np.isin(indices, markers)]).tolist())

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
