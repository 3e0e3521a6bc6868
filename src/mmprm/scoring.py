"""Step probabilities of candidates: the PRM's P(yes) at every `<prm>`.

In: a PRM folder, a problem table, a candidate table. Out: a score table. The texts come from `solution.Renderer`, as
in training. vLLM scores (pooling runner, one probability a marker); transformers scores a few candidates again, and
the stage fails where the two differ: vLLM is silently wrong on some model classes.
"""

from __future__ import annotations

import hashlib
import math
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from mmprm import models, tables
from mmprm.config.standalone import Settings
from mmprm.engine.decoding import TooLongError
from mmprm.errors import UserError
from mmprm.problem import Problem, read_problems
from mmprm.progress_bar import Bar
from mmprm.solution import MARKER, NO, YES, Status, control_ids
from mmprm.training.tree_scoring import Item, TreeScorer


class Scorer(Protocol):
    """A PRM. `prompt_tokens` counts what it has read."""

    prompt_tokens: int

    def score(self, items: Sequence[Item]) -> list[list[float]]:
        """P(yes) at each marker of each item, in order; an empty list for an item that is too long for the model."""

    def close(self) -> None:
        """Free the model."""


class VllmScorer:
    """Scores with vLLM: the two rows of the output layer for No and Yes make a classifier at the marker's position."""

    def __init__(self, config: Settings, folder: Path) -> None:
        from mmprm.engine.vllm_engine import VllmModel, set_environment

        set_environment(models.device())
        from vllm.config import PoolerConfig

        self.prompt_tokens = 0
        self._window = 2 * config.engine.max_running
        marker = control_ids(models.load_processor(folder).tokenizer)[MARKER]
        head = {"method": "from_2_way_softmax", "classifier_from_token": [NO, YES], "num_labels": 1}
        # vLLM looks for it in the language model's configuration, where Qwen-VL's families do not have it.
        head["tie_word_embeddings"] = models.ties_embeddings(folder)
        self._model = VllmModel(
            config,
            folder,
            max_num_seqs=config.engine.max_running,
            runner="pooling",
            convert="classify",
            hf_overrides={"num_labels": 1, "text_config": head},
            pooler_config=PoolerConfig(task="token_classify", tok_pooling_type="STEP", step_tag_id=marker),
            # Tokens that are cached are not computed, so they would have no score; nor are those of another chunk.
            enable_prefix_caching=False,
            enable_chunked_prefill=False,
        )

    def score(self, items: Sequence[Item]) -> list[list[float]]:
        """See Scorer. Keeps the engine's batch full, and not more than two batches of rendered items."""
        from vllm import PoolingParams

        scores: list[list[float]] = [[] for _ in items]
        waiting = enumerate(items)
        running = 0
        exhausted = False
        while running or not exhausted:
            while running < self._window and not exhausted:
                index, item = next(waiting, (0, None))
                if item is None:
                    exhausted = True
                    break
                problem, steps, answer = item
                try:
                    rendered = self._model.render(self._model.renderer.marked(problem, steps, answer), problem, room=0)
                except TooLongError:
                    continue
                self._model.engine.add_request(str(index), rendered, PoolingParams(task="token_classify"))
                running += 1
            for output in self._model.engine.step():
                if output.finished:
                    scores[int(output.request_id)] = output.outputs.data.double().flatten().tolist()
                    self.prompt_tokens += len(output.prompt_token_ids)
                    running -= 1
        return scores

    def close(self) -> None:
        """Free the model."""
        self._model.close()


class TransformersScorer:
    """Scores with transformers, one item a forward pass: plain, and the reference for the other."""

    def __init__(self, folder: Path, instruction: str = "", dtype: str = "auto", max_model_len: int = 2**20) -> None:
        from mmprm.engine.transformers_engine import TransformersModel

        self.prompt_tokens = 0
        self._model = TransformersModel(folder, instruction, dtype, max_model_len)
        self._ids = control_ids(self._model.processor.tokenizer)

    def score(self, items: Sequence[Item]) -> list[list[float]]:
        """See Scorer."""
        return [self._score(*item) for item in items]

    def _score(self, problem: Problem, steps: tuple[str, ...], answer: str | None) -> list[float]:
        import torch

        try:
            inputs = self._model.inputs(self._model.renderer.marked(problem, steps, answer), problem, room=0)
        except TooLongError:
            return []
        ids = inputs["input_ids"][0]
        self.prompt_tokens += len(ids)
        markers = (ids == self._ids[MARKER]).nonzero()[:, 0]
        with torch.inference_mode():
            logits = self._model.model(**inputs, logits_to_keep=markers).logits[0]
        both = logits[:, [self._ids[NO], self._ids[YES]]].double()
        return [float(value) for value in both.softmax(dim=-1)[:, 1]]

    def close(self) -> None:
        """Free the model."""
        del self._model


def open_scorer(config: Settings, prm: Path) -> Scorer:
    """The scorer that engine.kind names; vLLM also where a server samples, for that one does not serve the PRM.

    With transformers a problem's candidates are one prefix tree.
    """
    engine = config.engine
    if engine.kind != "transformers":
        return VllmScorer(config, prm)
    return TreeScorer(prm, config.prompt.instruction, engine.dtype, engine.max_model_len)


def score_candidates(config: Settings, prm: Path, problems: Path, candidates: Path, out: Path) -> None:
    """Write the SCORES of all candidates of a table, see `write_scores`."""
    by_id = {problem.problem_id: problem for problem in read_problems(problems)}
    rows = tables.read_rows(candidates, tables.CANDIDATES)
    unknown = sorted({row["problem_id"] for row in rows if row["status"] == Status.OK} - by_id.keys())
    if unknown:
        raise UserError(f"{candidates}: problem {unknown[0]!r} (of {len(unknown)}) is not in {problems}")
    write_scores(config, prm, by_id, rows, out)


def write_scores(
    config: Settings,
    prm: Path,
    problems: Mapping[str, Problem],
    rows: Sequence[Mapping[str, Any]],
    out: Path,
    stamp: Mapping[str, str] | None = None,
) -> None:
    """Write the SCORES of candidates (rows of tables.CANDIDATES), and what it took to `{out}.usage.json`.

    A candidate whose status is not ok, or that is too long for the model, gets an empty list. `stamp` is kept in the
    file's metadata. Raises as `score_items`.
    """
    rows = sorted(rows, key=lambda row: (row["problem_id"], row["candidate"]))  # an image is processed once
    scored = [row for row in rows if row["status"] == Status.OK]
    items: list[Item] = [(problems[row["problem_id"]], tuple(row["steps"]), row["answer"]) for row in scored]
    probabilities, usage = score_items(config, prm, items)
    of_row = {(row["problem_id"], row["candidate"]): values for row, values in zip(scored, probabilities, strict=True)}
    ids = [(row["problem_id"], row["candidate"]) for row in rows]
    table = [{"problem_id": key[0], "candidate": key[1], "probabilities": of_row.get(key, [])} for key in ids]
    tables.write(out, table, tables.SCORES.with_metadata(stamp) if stamp else tables.SCORES)
    tables.write_json(out.with_name(out.name + ".usage.json"), usage)


def score_items(config: Settings, prm: Path, items: Sequence[Item]) -> tuple[list[list[float]], dict[str, Any]]:
    """(P(yes) at each marker of each item, what it took); an empty list for an item that is too long for the model.

    Raises UserError where the folder is not whole, a probability is not a number, markers are missing, or transformers
    disagrees (bench.cross_check).
    """
    models.check_manifest(prm)
    started = time.monotonic()
    scorer = open_scorer(config, prm)
    try:
        probabilities = _score_all(scorer, items)
        prompt_tokens = scorer.prompt_tokens
    finally:
        scorer.close()  # before transformers loads the same weights onto the same device
    too_long = sum(not values for values in probabilities)
    if too_long:
        print(f"{too_long} of {len(items)} candidates are too long for engine.max_model_len: no score", file=sys.stderr)
    _cross_check(config, prm, items, probabilities)
    usage: dict[str, Any] = {"seconds": round(time.monotonic() - started, 3), "requests": len(items), "completions": 0}
    usage |= {"generated_tokens": 0, "prompt_tokens": prompt_tokens, "cached_prompt_tokens": 0}
    return probabilities, usage | {"replayed_completions": 0}


def _score_all(scorer: Scorer, items: Sequence[Item]) -> list[list[float]]:
    """All scores, checked. Items go to the scorer in parts of 1024, or of a tenth where that is less."""
    probabilities: list[list[float]] = []
    size = min(1024, max(64, len(items) // 10))
    with Bar("scored", len(items), "solutions") as bar:
        for first in range(0, len(items), size):
            part = items[first : first + size]
            for item, values in zip(part, scorer.score(part), strict=True):
                check_scores(item, values)
                probabilities.append(values)
            bar.update(len(probabilities))
    return probabilities


def check_scores(item: Item, values: list[float]) -> None:
    """Raise UserError unless there is one probability a marker (or none at all) and each is a number."""
    problem, steps, answer = item
    markers = len(steps) + (answer is not None)
    if len(values) not in (0, markers):
        raise UserError(
            f"problem {problem.problem_id!r}: {len(values)} probabilities for {markers} markers; "
            "is the PRM's tokenizer the one that it was trained with?"
        )
    if not all(math.isfinite(value) for value in values):
        raise UserError(f"problem {problem.problem_id!r}: a probability is not a number: the PRM is broken, retrain it")


def _reference(config: Settings, prm: Path) -> TransformersScorer:
    engine = config.engine
    return TransformersScorer(prm, config.prompt.instruction, engine.dtype, engine.max_model_len)


def _cross_check(config: Settings, prm: Path, items: Sequence[Item], probabilities: Sequence[list[float]]) -> None:
    name = "tree packing" if config.engine.kind == "transformers" else "vLLM"
    chosen = [index for index in spread(items) if probabilities[index]][: config.bench.cross_check]
    if not chosen:
        return
    reference = _reference(config, prm)
    try:
        expected = reference.score([items[index] for index in chosen])
    finally:
        reference.close()
    largest, worst = 0.0, chosen[0]
    for index, values in zip(chosen, expected, strict=True):
        check_scores(items[index], values)
        difference = max(abs(a - b) for a, b in zip(probabilities[index], values, strict=True))
        if difference > largest:
            largest, worst = difference, index
    print(f"cross-check: {len(chosen)} candidates, largest difference {largest:.2e}", file=sys.stderr)
    if largest > config.bench.tolerance:
        raise UserError(
            f"{name} and transformers differ by {largest:.2e} on a candidate of problem "
            f"{items[worst][0].problem_id!r}; bench.tolerance is {config.bench.tolerance:g}: set engine.kind to "
            "transformers, or raise the tolerance where the weights are in half precision"
        )


def spread(items: Sequence[Item]) -> list[int]:
    """All indices in an order that visits every problem once before any twice, and else follows a hash."""

    def digest(index: int) -> str:
        problem, steps, answer = items[index]
        return hashlib.sha256("\x1f".join([problem.problem_id, *steps, answer or ""]).encode()).hexdigest()

    turn: Counter[str] = Counter()
    turns = {}
    for index in sorted(range(len(items)), key=digest):
        turns[index] = turn[items[index][0].problem_id]
        turn[items[index][0].problem_id] += 1
    return sorted(turns, key=lambda index: turns[index])
