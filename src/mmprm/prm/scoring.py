"""Scores of candidates: the PRM's P(yes) at every `<prm>`, and of a PRM of counts its concentration (`step_scores`).

In: a PRM folder, a problem table, a candidate table. Out: a score table. The texts come from `solution.Renderer`, as
in training. vLLM scores (pooling runner, one probability or three logits a marker); transformers scores a few
candidates again, and the stage fails where the two differ: vLLM is silently wrong on some model classes.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from mmprm.config.offline import Settings
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, read_problems
from mmprm.engine.decoding import TooLongError
from mmprm.model import folders
from mmprm.model.step_text import MARKER, NO, YES, Status, control_ids
from mmprm.prefix_trees.scoring import Item, TreeScorer
from mmprm.prm.step_scores import StepScores, dispersion
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log
from mmprm.runtime.progress import Progress


class Scorer(Protocol):
    """A PRM. `prompt_tokens` counts what it has read."""

    prompt_tokens: int

    def score(self, items: Sequence[Item]) -> list[StepScores]:
        """The scores of each item, in order; none at all of an item that is too long for the model."""

    def close(self) -> None:
        """Free the model."""


class VllmScorer:
    """Scores with vLLM: the rows of the output layer for No and Yes make a classifier at the marker's position.

    Of a PRM of counts the marker's row too, and what comes back are logits.
    """

    def __init__(self, config: Settings, folder: Path) -> None:
        from mmprm.engine.vllm_engine import VllmModel, set_environment

        set_environment(folders.device())
        from vllm.config import PoolerConfig

        self.prompt_tokens = 0
        self._window = 2 * config.engine.max_running
        marker = control_ids(folders.load_processor(folder).tokenizer)[MARKER]
        self._counts = folders.learnt_counts(folder)
        head: dict[str, Any] = {"method": "from_2_way_softmax", "classifier_from_token": [NO, YES], "num_labels": 1}
        if self._counts:
            head = {"method": "no_post_processing", "classifier_from_token": [NO, YES, MARKER], "num_labels": 3}
        # vLLM looks for it in the language model's configuration, where Qwen-VL's families do not have it.
        head["tie_word_embeddings"] = folders.ties_embeddings(folder)
        self._model = VllmModel(
            config,
            folder,
            max_num_seqs=config.engine.max_running,
            runner="pooling",
            convert="classify",
            hf_overrides={"num_labels": head["num_labels"], "text_config": head},
            pooler_config=PoolerConfig(task="token_classify", tok_pooling_type="STEP", step_tag_id=marker),
            # Tokens that are cached are not computed, so they would have no score; nor are those of another chunk.
            enable_prefix_caching=False,
            enable_chunked_prefill=False,
        )

    def score(self, items: Sequence[Item]) -> list[StepScores]:
        """See Scorer. Keeps the engine's batch full, and not more than two batches of rendered items."""
        from vllm import PoolingParams

        parameters = PoolingParams(task="token_classify", use_activation=False if self._counts else None)
        scores = [StepScores() for _ in items]
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
                self._model.engine.add_request(str(index), rendered, parameters)
                running += 1
            for output in self._model.engine.step():
                if output.finished:
                    scores[int(output.request_id)] = self._read(output.outputs.data)
                    self.prompt_tokens += len(output.prompt_token_ids)
                    running -= 1
        return scores

    def _read(self, found: Any) -> StepScores:
        return StepScores.of_logits(found) if self._counts else StepScores(found.double().flatten().tolist())

    def close(self) -> None:
        """Free the model."""
        self._model.close()


class TransformersScorer:
    """Scores with transformers, one item a forward pass: plain, and the reference for the other."""

    def __init__(self, folder: Path, instruction: str = "", dtype: str = "auto", max_model_len: int = 2**20) -> None:
        from mmprm.engine.transformers_engine import TransformersModel

        self.prompt_tokens = 0
        self._model = TransformersModel(folder, instruction, dtype, max_model_len)
        ids = control_ids(self._model.processor.tokenizer)
        self._marker = ids[MARKER]
        self._read = [ids[NO], ids[YES], *([ids[MARKER]] if folders.learnt_counts(folder) else [])]

    def score(self, items: Sequence[Item]) -> list[StepScores]:
        """See Scorer."""
        return [self._score(*item) for item in items]

    def _score(self, problem: Problem, steps: tuple[str, ...], answer: str | None) -> StepScores:
        import torch

        try:
            inputs = self._model.inputs(self._model.renderer.marked(problem, steps, answer), problem, room=0)
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
    rows = tables.read_rows(candidates, schemas.CANDIDATES)
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
    """Write the SCORES of candidates (rows of schemas.CANDIDATES), and what it took to `{out}.usage.json`.

    With a column more, COUNTED_SCORES, where the PRM was trained on counts. A candidate whose status is not ok, or that
    is too long for the model, gets an empty list. `stamp` is kept in the file's metadata. Raises as `score_items`.
    """
    rows = sorted(rows, key=lambda row: (row["problem_id"], row["candidate"]))  # an image is processed once
    scored = [row for row in rows if row["status"] == Status.OK]
    items: list[Item] = [(problems[row["problem_id"]], tuple(row["steps"]), row["answer"]) for row in scored]
    scores, usage = score_items(config, prm, items)
    of_row = {(row["problem_id"], row["candidate"]): found for row, found in zip(scored, scores, strict=True)}
    counted = folders.learnt_counts(prm)
    schema = schemas.COUNTED_SCORES if counted else schemas.SCORES
    table = []
    for row in rows:
        which = {"problem_id": row["problem_id"], "candidate": row["candidate"]}
        found = of_row.get((row["problem_id"], row["candidate"]), StepScores())
        table.append(which | found.columns(counted))
    tables.write(out, table, schema.with_metadata(stamp) if stamp else schema)
    tables.write_json(out.with_name(out.name + ".usage.json"), usage)


def score_items(config: Settings, prm: Path, items: Sequence[Item]) -> tuple[list[StepScores], dict[str, Any]]:
    """(the scores of each item, what it took); none at all of an item that is too long for the model.

    Raises UserError where the folder is not whole, a score is not a number, markers are missing, or transformers
    disagrees (bench.cross_check).
    """
    folders.check_manifest(prm)
    started = time.monotonic()
    scorer = open_scorer(config, prm)
    try:
        scores = _score_all(scorer, items)
        prompt_tokens = scorer.prompt_tokens
    finally:
        scorer.close()  # before transformers loads the same weights onto the same device
    too_long = sum(not found.probabilities for found in scores)
    if too_long:
        log.info(f"{too_long} of {len(items)} candidates are too long for engine.max_model_len: no score")
    _cross_check(config, prm, items, scores)
    usage: dict[str, Any] = {"seconds": round(time.monotonic() - started, 3), "requests": len(items), "completions": 0}
    usage |= {"generated_tokens": 0, "prompt_tokens": prompt_tokens, "cached_prompt_tokens": 0}
    return scores, usage | {"replayed_completions": 0}


def _score_all(scorer: Scorer, items: Sequence[Item]) -> list[StepScores]:
    """All scores, checked. Items go to the scorer in parts of 1024, or of a tenth where that is less."""
    scores: list[StepScores] = []
    size = min(1024, max(64, len(items) // 10))
    with Progress("scored", len(items), "solutions") as bar:
        for first in range(0, len(items), size):
            part = items[first : first + size]
            for item, found in zip(part, scorer.score(part), strict=True):
                check_scores(item, found)
                scores.append(found)
            bar.update(len(scores))
    return scores


def check_scores(item: Item, found: StepScores) -> None:
    """Raise UserError unless there is one probability a marker (or none at all) and each is a number.

    And as many concentrations, each a number above 0, where there are any.
    """
    problem, steps, answer = item
    markers = len(steps) + (answer is not None)
    n, concentrations = len(found.probabilities), found.concentrations
    if n not in (0, markers) or (concentrations is not None and len(concentrations) != n):
        beside = "" if concentrations is None else f" and {len(concentrations)} concentrations"
        raise UserError(
            f"problem {problem.problem_id!r}: {n} probabilities{beside} for {markers} markers; "
            "is the PRM's tokenizer the one that it was trained with?"
        )
    if not all(math.isfinite(value) for value in found.probabilities):
        raise UserError(f"problem {problem.problem_id!r}: a probability is not a number: the PRM is broken, retrain it")
    if not all(math.isfinite(value) and value > 0 for value in concentrations or ()):
        raise UserError(
            f"problem {problem.problem_id!r}: a concentration is no number above 0: the PRM is broken, retrain it"
        )


def _reference(config: Settings, prm: Path) -> TransformersScorer:
    engine = config.engine
    return TransformersScorer(prm, config.prompt.instruction, engine.dtype, engine.max_model_len)


def _cross_check(config: Settings, prm: Path, items: Sequence[Item], scores: Sequence[StepScores]) -> None:
    """Concentrations are compared by `dispersion`, to which the tolerance of a probability fits."""
    name = "tree packing" if config.engine.kind == "transformers" else "vLLM"
    chosen = [index for index in spread(items) if scores[index].probabilities][: config.bench.cross_check]
    if not chosen:
        return
    reference = _reference(config, prm)
    try:
        expected = reference.score([items[index] for index in chosen])
    finally:
        reference.close()
    largest, worst = 0.0, chosen[0]
    for index, other in zip(chosen, expected, strict=True):
        check_scores(items[index], other)
        difference = max(abs(a - b) for a, b in zip(_compared(scores[index]), _compared(other), strict=True))
        if difference > largest:
            largest, worst = difference, index
    log.info(f"cross-check: {len(chosen)} candidates, largest difference {largest:.2e}")
    if largest > config.bench.tolerance:
        raise UserError(
            f"{name} and transformers differ by {largest:.2e} on a candidate of problem "
            f"{items[worst][0].problem_id!r}; bench.tolerance is {config.bench.tolerance:g}: set engine.kind to "
            "transformers, or raise the tolerance where the weights are in half precision"
        )


def _compared(found: StepScores) -> list[float]:
    return found.probabilities + [dispersion(value) for value in found.concentrations or ()]


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
