"""Measures how well a PRM chooses. In: problems, candidates, scores. Out: `metrics.json`, and the run's `summary.json`.

All values are fractions in [0, 1], averaged over problems; differences are in [-1, 1]. A summary row is
{benchmark, variant, n, metric, value, ci_low, ci_high, problems, primary}: `n` candidates a problem, `primary` for the
rows of `bench.primary`, the aggregate that was fixed beforehand.

Which candidates count: an undecided one is left out, and its number reported; a problem of undecided ones alone is left
out too. All the others count, right or wrong: Random picks among those without an answer as well, `random_parsed` among
those that have one: what an aggregate gains over it is the ranking's own. Only a parsed candidate with scores can be
chosen while one exists; a problem without any is wrong.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmprm import tables
from mmprm.config import Config
from mmprm.errors import UserError
from mmprm.evaluation import bon, votes
from mmprm.evaluation.aggregates import AGGREGATES
from mmprm.evaluation.auc import auc_within_problem
from mmprm.evaluation.intervals import intervals
from mmprm.grading import Verdict
from mmprm.problem import Problem, read_problems
from mmprm.solution import Status

# What the aggregates are compared with, on the same candidates.
BASELINES = ("random", "random_parsed", "majority")
# The weight of a vote must not be negative, nor let one candidate outvote all others: what stands in for an aggregate
# that is not a probability.
_VOTE_WEIGHT = {"sum_log_pr": "product", "sum_log_odds": "average", "mean_odds": "average"}


@dataclass(frozen=True)
class Candidates:
    """The counted candidates of one problem, in order: arrays over M candidates."""

    correct: np.ndarray  # bool
    parsed: np.ndarray  # bool
    keys: tuple[str | None, ...]  # answers, see votes.answer_key; None: no vote
    scores: Mapping[str, np.ndarray]  # aggregate -> scores, -inf where it cannot be chosen


def measure(
    config: Config, benchmark: str, variant: str, problems: Path, candidates: Path, scores: Path, out: Path
) -> None:
    """Write the metrics of one benchmark and variant; UserError names what is missing or broken, and where."""
    rows = _joined(config, problems, candidates, scores)
    by_id = {problem.problem_id: problem for problem in read_problems(problems)}
    every = {name: _candidates(by_id[name], group) for name, group in rows.items()}
    counted = [found for found in every.values() if found is not None]
    if not counted:
        raise UserError(f"{candidates}: no problem has a graded candidate; was the grader working?")
    values = per_problem(counted, config.bench.n, config.bench.primary)
    means, low, high = intervals(
        np.stack(list(values.values())), config.bench.confidence, config.bench.resamples, config.seed
    )
    primary = config.bench.primary
    summary = [
        {
            "benchmark": benchmark,
            "variant": variant,
            "n": n,
            "metric": metric,
            "value": float(mean),
            "ci_low": float(lower),
            "ci_high": float(upper),
            "problems": len(counted),
            "primary": metric.endswith(f"/{primary}"),
        }
        for (metric, n), mean, lower, upper in zip(values, means, low, high, strict=True)
    ]
    tables.write_json(
        out,
        {
            "benchmark": benchmark,
            "variant": variant,
            "domain": config.benchmarks[benchmark].domain,
            "n": config.bench.n,
            "n_problems": len(counted),
            "n_problems_undecided": len(every) - len(counted),
            "primary": primary,
            "weighted_majority_by": _VOTE_WEIGHT.get(primary, primary),
            "confidence": config.bench.confidence,
            "resamples": config.bench.resamples,
            **_counts([row for group in rows.values() for row in group], len(rows)),
            "auc_within_problem": _within(counted),
            "accuracy": {row["metric"]: row["value"] for row in summary if row["n"] == config.bench.n},
            "rows": summary,
            "curves": _curves(summary),
        },
    )


def summarise(config: Config, metrics: list[Path], out: Path) -> None:
    """All summary rows of the run, in the order of the configuration's benchmarks and variants."""
    rows: list[dict[str, Any]] = []
    for path in metrics:
        try:
            rows += json.loads(path.read_text())["rows"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not the metrics of this version ({error!r}); delete it and run again") from error
    order = {name: index for index, name in enumerate([*config.benchmarks, *config.prm.variants])}
    rows.sort(key=lambda row: (order.get(row["benchmark"], -1), order.get(row["variant"], -1)))
    tables.write_json(out, rows)


def per_problem(counted: Sequence[Candidates], n_max: int, primary: str) -> dict[tuple[str, int], np.ndarray]:
    """(metric, n) -> values of shape (problems,). A problem with fewer counted candidates than n uses all it has."""
    values: dict[tuple[str, int], np.ndarray] = {}
    for n in bon.sizes(n_max):
        values["random", n] = _each(counted, n, lambda group, _: bon.random_pick(_correct(group)))
        values["random_parsed", n] = _each(
            counted, n, lambda group, k: bon.best_of_n(_parsed_alike(group), _correct(group), k)
        )
        values["majority", n] = np.array([votes.majority(one.keys, min(n, len(one.keys))) for one in counted])
        values["oracle", n] = _each(counted, n, lambda group, k: bon.oracle(_correct(group), k))
        for name in AGGREGATES:
            values[f"bon/{name}", n] = _each(
                counted,
                n,
                lambda group, k, name=name: bon.best_of_n(  # type: ignore[misc]
                    np.stack([one.scores[name] for one in group]), _correct(group), k
                ),
            )
        for other in BASELINES:
            for name in AGGREGATES:
                values[f"bon_minus_{other}/{name}", n] = values[f"bon/{name}", n] - values[other, n]
    weight = _VOTE_WEIGHT.get(primary, primary)
    weighted = [votes.weighted_majority(one.keys, one.scores[weight].tolist()) for one in counted]
    values["weighted_majority", n_max] = np.array(weighted)
    return values


def _each(
    counted: Sequence[Candidates], n: int, metric: Callable[[Sequence[Candidates], int], np.ndarray]
) -> np.ndarray:
    """A metric of all problems, those with equally many candidates in one array."""
    groups = defaultdict(list)
    for index, one in enumerate(counted):
        groups[len(one.keys)].append(index)
    values = np.empty(len(counted))
    for m, indices in groups.items():
        values[indices] = metric([counted[index] for index in indices], min(n, m))
    return values


def _correct(group: Sequence[Candidates]) -> np.ndarray:
    return np.stack([one.correct for one in group])


def _parsed_alike(group: Sequence[Candidates]) -> np.ndarray:
    """One score for all that parse: what a chooser gains that knows this of a candidate and nothing else."""
    return np.where(np.stack([one.parsed for one in group]), 0.0, -np.inf)


def _joined(config: Config, problems: Path, candidates: Path, scores: Path) -> dict[str, list[dict[str, Any]]]:
    """Problem id -> its candidates with their `probabilities`; UserError unless every problem has all of them."""
    rows = tables.read_rows(candidates, tables.CANDIDATES)
    of_row = {
        (row["problem_id"], row["candidate"]): row["probabilities"] for row in tables.read_rows(scores, tables.SCORES)
    }
    groups: dict[str, list[dict[str, Any]]] = {problem.problem_id: [] for problem in read_problems(problems)}
    for row in rows:
        name, number = row["problem_id"], row["candidate"]
        if name not in groups:
            raise UserError(f"{candidates}: problem {name!r} is not in {problems}: remake the candidates")
        if (name, number) not in of_row:
            raise UserError(f"{scores}: candidate {number} of problem {name!r} is missing: remake the scores")
        probabilities = of_row[name, number] or []
        markers = len(row["steps"] or []) + (row["answer"] is not None)
        if len(probabilities) not in (0, markers):
            raise UserError(
                f"{scores}: candidate {number} of problem {name!r} has {len(probabilities)} probabilities for "
                f"{markers} markers: remake the scores"
            )
        groups[name].append(row | {"probabilities": probabilities})
    for name, group in groups.items():
        if sorted(row["candidate"] for row in group) != list(range(config.bench.n)):
            raise UserError(
                f"{candidates}: problem {name!r} has {len(group)} candidates, not 0 to {config.bench.n - 1}; "
                "is a shard missing, or bench.n another? Remake the candidates"
            )
    return {name: sorted(group, key=lambda row: row["candidate"]) for name, group in groups.items()}


def _candidates(problem: Problem, rows: Sequence[Mapping[str, Any]]) -> Candidates | None:
    """The arrays of one problem, undecided candidates left out; None where nothing is left."""
    rows = [row for row in rows if row["verdict"] != Verdict.UNDECIDED]
    if not rows:
        return None
    parsed = np.array([row["status"] == Status.OK for row in rows])
    correct = parsed & np.array([row["verdict"] == Verdict.CORRECT for row in rows])
    keys = tuple(
        votes.answer_key(problem, row["answer"] or "", bool(right)) if ok else None
        for row, ok, right in zip(rows, parsed, correct, strict=True)
    )
    scores = {name: np.full(len(rows), -np.inf) for name in AGGREGATES}
    for index, row in enumerate(rows):
        for name, aggregate in AGGREGATES.items():
            try:
                scores[name][index] = aggregate(row["probabilities"]) if parsed[index] else -np.inf
            except ValueError as error:
                where = f"problem {problem.problem_id!r}, candidate {row['candidate']}"
                raise UserError(f"{where}: {error}; the PRM is broken: retrain it") from error
    return Candidates(correct, parsed, keys, scores)


def _counts(rows: Sequence[Mapping[str, Any]], n_problems: int) -> dict[str, Any]:
    """What the candidates are: how many differ, parsed, were undecided, failed; their mean length in tokens."""
    texts = defaultdict(set)
    for row in rows:
        texts[row["problem_id"]].add(row["text"])
    return {
        "distinct_candidates_mean": sum(map(len, texts.values())) / n_problems,
        "parsed_share": sum(row["status"] == Status.OK for row in rows) / len(rows),
        "tokens_mean": sum(row["n_tokens"] or 0 for row in rows) / len(rows),
        "n_candidates": len(rows),
        "n_undecided": sum(row["verdict"] == Verdict.UNDECIDED for row in rows),
        "n_failed": sum(row["finish_reason"] == "error" for row in rows),
        "n_without_scores": sum(row["status"] == Status.OK and not row["probabilities"] for row in rows),
    }


def _within(counted: Sequence[Candidates]) -> dict[str, float | None]:
    """Within-problem AUC of each aggregate, over candidates that can be chosen."""
    chosen = [np.isfinite(one.scores["min"]) for one in counted]
    correct = [one.correct[keep].tolist() for one, keep in zip(counted, chosen, strict=True)]
    return {
        name: auc_within_problem(
            [one.scores[name][keep].tolist() for one, keep in zip(counted, chosen, strict=True)], correct
        )
        for name in AGGREGATES
    }


def _curves(summary: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Accuracy against n, one entry a metric (differences left out): {metric, n, value, ci_low, ci_high}, lists."""
    curves: dict[str, dict[str, Any]] = {}
    for row in summary:
        if "minus" not in row["metric"]:
            curve = curves.setdefault(
                row["metric"], {"metric": row["metric"], "n": [], "value": [], "ci_low": [], "ci_high": []}
            )
            for key in ("n", "value", "ci_low", "ci_high"):
                curve[key].append(row[key])
    return list(curves.values())
