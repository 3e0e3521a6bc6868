"""Scores of candidates: the PRM's P(yes) at every `<prm>`. In: a PRM, problems, candidates. Out: a score table.

A few candidates are scored again, one at a time with transformers, and the stage fails if the two differ.
"""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmprm.config.offline import Settings
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, problems_by_id
from mmprm.model import folders
from mmprm.model.step_text import NEEDS_IMAGES, Status
from mmprm.prm import critic, score_stamp
from mmprm.prm import external as externals
from mmprm.prm.cross_check import TOLERANCE, largest_difference, spread, what_differs
from mmprm.prm.scorers import TransformersScorer, TreeScorer
from mmprm.prm.step_scores import Item, Scorer, StepScores
from mmprm.prm.vllm_head import unread
from mmprm.prm.vllm_scorer import VllmScorer
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log
from mmprm.runtime.progress import Progress


def open_scorer(config: Settings, prm: Path) -> Scorer:
    """Open the scorer that engine.kind names; vLLM also with a sampling server, which does not serve the PRM.

    transformers where vLLM would read the model wrongly (`vllm_head.unread`), whatever samples.
    """
    engine = config.engine
    if external := externals.external_of(prm):
        from mmprm.prm.external_scorer import ExternalScorer

        return ExternalScorer(external, engine)
    if engine.kind != "transformers":
        why = unread(prm)
        if why is None:
            return VllmScorer(config, prm)
        log.info(f"{prm}: {why}: transformers scores")
    return TreeScorer(prm, config.prompt.instruction, engine.dtype, engine.max_model_len)


def score_candidates(config: Settings, prm: Path, problems: Path, candidates: Path, out: Path) -> None:
    """Write the SCORES of all candidates of a table (`write_scores`); UserError if one's problem is unknown."""
    by_id = problems_by_id(problems)
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
    """Write the SCORES of candidates (rows of schemas.CANDIDATES), and their cost to `{out}.usage.json`.

    COUNTED_SCORES, with one more column, for a PRM that was trained on counts. A candidate whose status is not ok, that
    is too long for the model, or of a problem with images where the model reads text alone, gets an empty list. A hash
    of the candidates and `stamp` go into the file's metadata. Raises as `score_items`, and UserError if the model reads
    no candidate's problem.
    """
    rows = sorted(rows, key=lambda row: (row["problem_id"], row["candidate"]))  # an image is processed once
    parsed = _readable([row for row in rows if row["status"] == Status.OK], problems, prm)
    items: list[Item] = [(problems[row["problem_id"]], tuple(row["steps"]), row["answer"]) for row in parsed]
    external = externals.external_of(prm)
    if external and external.kind == "scores_file":
        scores, usage = externals.looked_up(external.folder, rows, parsed), _usage(0.0, 0, 0)
        for item, score in zip(items, scores, strict=True):
            check_scores(item, score)
    else:
        scores, usage = score_items(config, prm, items)
    by_row = {(row["problem_id"], row["candidate"]): score for row, score in zip(parsed, scores, strict=True)}
    counted = folders.trained_on_counts(prm)
    schema = schemas.COUNTED_SCORES if counted else schemas.SCORES
    table = []
    for row in rows:
        key = (row["problem_id"], row["candidate"])
        columns = by_row.get(key, StepScores()).columns(counted)
        table.append({"problem_id": key[0], "candidate": key[1], **columns})
    made_for = {score_stamp.OF: score_stamp.digest(rows, "problem_id", "candidate")}
    tables.write(out, table, schema.with_metadata(made_for | dict(stamp or {})))
    tables.write_json(tables.usage_path(out), usage)


def _readable(rows: list[Mapping[str, Any]], problems: Mapping[str, Problem], prm: Path) -> list[Mapping[str, Any]]:
    """Return the candidates whose problems the model can be shown; all where that is none, so that one is named."""
    pictured = sum(bool(problems[row["problem_id"]].images) for row in rows)
    if not 0 < pictured < len(rows) or not externals.reads_text_alone(prm):
        return rows
    about = "are of problems with images, and the PRM reads text alone: no score"
    log.warning(f"{pictured} of {len(rows)} candidates {about} ({NEEDS_IMAGES})")
    return [row for row in rows if not problems[row["problem_id"]].images]


def score_items(config: Settings, prm: Path, items: Sequence[Item]) -> tuple[list[StepScores], dict[str, Any]]:
    """Return each item's scores (none if it is too long for the model), and their cost.

    Raises UserError if the PRM folder is not complete, a score is not a number, markers are missing, or transformers
    disagrees (bench.cross_check).
    """
    folders.check_manifest(prm)
    started = time.monotonic()
    if (external := externals.external_of(prm)) and external.critic:
        judged = critic.judge_items(config, external.critic, items, prm.with_name(f"{prm.name}.replies"))
        spent = {"requests": judged.calls, "completions": judged.calls, "generated_tokens": judged.tokens}
        return judged.scores, _usage(time.monotonic() - started, judged.calls, 0) | spent
    scorer = open_scorer(config, prm)
    try:
        scores = _score_all(scorer, items)
        prompt_tokens = scorer.prompt_tokens
    finally:
        scorer.close()  # before transformers loads the same weights onto the same device
    too_long = sum(not score.probabilities for score in scores)
    if too_long:
        log.info(f"{too_long} of {len(items)} candidates are too long for engine.max_model_len: no score")
    _cross_check(config, prm, items, scores)
    return scores, _usage(time.monotonic() - started, len(items), prompt_tokens)


def _usage(seconds: float, requests: int, prompt_tokens: int) -> dict[str, Any]:
    usage: dict[str, Any] = {"seconds": round(seconds, 3), "requests": requests, "completions": 0}
    usage |= {"generated_tokens": 0, "prompt_tokens": prompt_tokens, "cached_prompt_tokens": 0}
    return usage | {"replayed_completions": 0}


def _score_all(scorer: Scorer, items: Sequence[Item]) -> list[StepScores]:
    """Score and check all items, in parts of 1024, or of a tenth if that is less."""
    scores: list[StepScores] = []
    size = min(1024, max(64, len(items) // 10))
    with Progress("scored", len(items), "solutions") as bar:
        for first in range(0, len(items), size):
            part = items[first : first + size]
            for item, score in zip(part, scorer.score(part), strict=True):
                check_scores(item, score)
                scores.append(score)
            bar.update(len(scores))
    return scores


def check_scores(item: Item, scores: StepScores) -> None:
    """Raise UserError unless each marker (or none at all) has a finite probability and, if any, a concentration > 0."""
    problem, steps, answer = item
    markers = len(steps) + (answer is not None)
    n, concentrations = len(scores.probabilities), scores.concentrations
    if n not in (0, markers) or (concentrations is not None and len(concentrations) != n):
        beside = "" if concentrations is None else f" and {len(concentrations)} concentrations"
        raise UserError(
            f"problem {problem.problem_id!r}: {n} probabilities{beside} for {markers} markers; "
            "does the PRM have the tokenizer that it was trained with?"
        )
    if not all(math.isfinite(value) for value in scores.probabilities):
        raise UserError(f"problem {problem.problem_id!r}: a probability is not a number: the PRM is broken, retrain it")
    if not all(math.isfinite(value) and value > 0 for value in concentrations or ()):
        raise UserError(
            f"problem {problem.problem_id!r}: a concentration is not a positive number: the PRM is broken, retrain it"
        )


def _open_reference(config: Settings, prm: Path) -> TransformersScorer:
    engine = config.engine
    return TransformersScorer(prm, config.prompt.instruction, engine.dtype, engine.max_model_len)


def _cross_check(config: Settings, prm: Path, items: Sequence[Item], scores: Sequence[StepScores]) -> None:
    """Raise UserError if scores differ from the reference's by more than bench.tolerance (by default, rounding)."""
    chosen = [index for index in spread(items) if scores[index].probabilities][: config.bench.cross_check]
    if not chosen or externals.external_of(prm):  # a published PRM is read one by one, in transformers
        return
    reference = _open_reference(config, prm)
    try:
        expected = reference.score([items[index] for index in chosen])
    finally:
        reference.close()
    for index, other in zip(chosen, expected, strict=True):
        check_scores(items[index], other)
    worst = largest_difference(chosen, scores, expected)
    log.info(f"cross-check: {len(chosen)} candidates, largest difference {worst.size:.2e}")
    dtype = folders.weights_dtype(prm, folders.working_dtype(config.engine.dtype, folders.device()))
    tolerance = config.bench.tolerance or TOLERANCE.get(dtype, max(TOLERANCE.values()))
    if worst.size > tolerance:
        index = worst.candidate
        other, kind = expected[chosen.index(index)], config.engine.kind
        raise UserError(what_differs(worst, items[index], scores[index], other, kind, dtype, tolerance))
