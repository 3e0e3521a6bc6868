"""Every way to choose among a problem's candidates, at every n. In: `Candidates`. Out: values, and what is reported.

The metrics; all but the differences are accuracies in [0, 1]:

- random: a uniform pick, which is pass@1; random_parsed: one of those that parse; oracle: pass@n, unbiased
- majority, and weighted_majority/{aggregate}: the vote weighted by one of the aggregates that are probabilities;
  weighted_majority alone: by that which stands for the primary aggregate
- bon/{aggregate}: the candidate with the highest score; orm/{variant}: with the highest P(yes) at the last marker by a
  PRM that was trained on outcomes alone
- {one}_minus_{other}: paired differences in [-1, 1] of one of the above to a baseline
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from mmprm.config import Bench
from mmprm.data.problem import Problem
from mmprm.evaluation import bon, votes
from mmprm.evaluation.aggregates import AGGREGATES
from mmprm.evaluation.candidates import Candidates, counted_candidates, counts, within_problem
from mmprm.evaluation.intervals import intervals
from mmprm.evaluation.mcnemar import mcnemar
from mmprm.runtime.errors import UserError

Row = dict[str, Any]
Values = dict[tuple[str, int], np.ndarray]  # (metric, n) -> values of shape (problems,)

# What the choices are compared with, on the same candidates.
BASELINES = ("random", "random_parsed", "majority")
# The weight of a vote must not be negative, nor let one candidate outvote all others: what stands in for an aggregate
# that is not a probability.
_STAND_IN = {"sum_log_pr": "product", "sum_log_odds": "average", "mean_odds": "average"}
WEIGHTS = tuple(name for name in AGGREGATES if name not in _STAND_IN)


def weight_of(aggregate: str) -> str:
    """The aggregate that weights votes for this one: itself where it is a probability."""
    return _STAND_IN.get(aggregate, aggregate)


def measured(
    problems: Mapping[str, Problem],
    rows: Mapping[str, Sequence[Row]],
    bench: Bench,
    n: int,
    seed: int,
    outcome: Sequence[str] = (),
) -> dict[str, Any]:
    """Everything that metrics.json says of one set of candidates.

    rows: problem id -> its candidates with `probabilities` (see candidates.join_scores); n: the largest number of
    candidates a problem; outcome: see candidates.counted_candidates. A row of `rows` is {n, metric, value, ci_low,
    ci_high, problems, primary}. Raises UserError where no candidate has a verdict.
    """
    every = {name: counted_candidates(problems[name], group, outcome) for name, group in rows.items()}
    counted = [found for found in every.values() if found is not None]
    if not counted:
        raise UserError("no problem has a graded candidate; was the grader working?")
    groups = [one.group for one in counted]
    values = per_problem(counted, n, bench.primary, seed)
    means, low, high = intervals(np.stack(list(values.values())), bench.confidence, bench.resamples, seed, groups)
    summary = [
        {
            "n": at,
            "metric": metric,
            "value": float(mean),
            "ci_low": float(lower),
            "ci_high": float(upper),
            "problems": len(counted),
            "primary": metric.startswith("bon") and metric.endswith(f"/{bench.primary}"),
        }
        for (metric, at), mean, lower, upper in zip(values, means, low, high, strict=True)
    ]
    most = max(len(one.keys) for one in counted)
    return {
        "n": n,
        "n_problems": len(counted),
        "n_problems_undecided": len(every) - len(counted),
        "n_groups": len(set(groups)),
        "primary": bench.primary,
        "weighted_majority_by": weight_of(bench.primary),
        # Everything else is exact; see votes.weighted_majority.
        "weighted_majority_drawn_at": [at for at in bon.sizes(n) if votes.subsets_are_drawn(most, min(at, most))],
        "weighted_majority_subsets": votes.DRAWN_SUBSETS,
        "confidence": bench.confidence,
        "resamples": bench.resamples,
        **counts([row for group in rows.values() for row in group], len(rows)),
        "auc_within_problem": within_problem(counted),
        "mcnemar": tests(values, n, bench.primary, counted, seed),
        "pass_at_k": [
            {"k": row["n"], **{key: row[key] for key in ("value", "ci_low", "ci_high")}}
            for row in summary
            if row["metric"] == "oracle"
        ],
        "accuracy": {row["metric"]: row["value"] for row in summary if row["n"] == n},
        "rows": summary,
        "curves": curves(summary),
    }


def per_problem(counted: Sequence[Candidates], n_max: int, primary: str, seed: int = 0) -> Values:
    """The values of every metric. A problem with fewer counted candidates than n uses all it has."""
    values: Values = {}
    for n in bon.sizes(n_max):
        values["random", n] = _each(counted, n, lambda group, _: bon.random_pick(_correct(group)))
        values["random_parsed", n] = _each(
            counted, n, lambda group, k: bon.best_of_n(_parsed_alike(group), _correct(group), k)
        )
        values["majority", n] = np.array([votes.majority(one.keys, min(n, len(one.keys))) for one in counted])
        values["oracle", n] = _each(counted, n, lambda group, k: bon.oracle(_correct(group), k))
        weighted = np.array([_weighted(one, n, _draw(seed, "votes", one.problem_id)) for one in counted])
        values["weighted_majority", n] = weighted[:, WEIGHTS.index(weight_of(primary))]
        for name, column in zip(WEIGHTS, weighted.T, strict=True):
            values[f"weighted_majority/{name}", n] = column
        for name in counted[0].outcome:
            values[f"orm/{name}", n] = _best(counted, n, attrgetter("outcome"), name)
        for name in AGGREGATES:
            values[f"bon/{name}", n] = _best(counted, n, attrgetter("scores"), name)
        for metric in [metric for metric, at in values if at == n]:
            what, _, of = metric.partition("/")
            if what in ("weighted_majority", "orm", "bon"):
                for other in BASELINES:
                    values[f"{what}_minus_{other}" + (f"/{of}" if of else ""), n] = values[metric, n] - values[other, n]
        for name in counted[0].outcome:
            values[f"bon_minus_orm/{name}/{primary}", n] = values[f"bon/{primary}", n] - values[f"orm/{name}", n]
    return values


def _weighted(one: Candidates, n: int, seed: int) -> np.ndarray:
    weights = np.stack([one.scores[name] for name in WEIGHTS])
    return votes.weighted_majority(one.keys, weights, min(n, len(one.keys)), seed)


def _draw(seed: int, purpose: str, problem_id: str) -> int:
    """Uniform in [0, 2^32): draws for different problems are independent, and those for one always alike."""
    digest = hashlib.sha256(f"{seed}\x1f{purpose}\x1f{problem_id}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def _best(
    counted: Sequence[Candidates], n: int, table: Callable[[Candidates], Mapping[str, np.ndarray]], name: str
) -> np.ndarray:
    return _each(
        counted, n, lambda group, k: bon.best_of_n(np.stack([table(one)[name] for one in group]), _correct(group), k)
    )


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


def tests(values: Values, n: int, primary: str, counted: Sequence[Candidates], seed: int) -> list[dict[str, Any]]:
    """McNemar's exact test of choices among all candidates against majority voting; none where problems are grouped."""
    if len({one.group for one in counted}) < len(counted):
        return []
    ours = [f"bon/{primary}", "weighted_majority"]
    ours += [metric for metric, at in values if at == n and metric.startswith("orm/")]
    lots = np.array([_draw(seed, "lots", one.problem_id) / 2**32 for one in counted])
    return [
        {"choice": metric, "against": "majority", "n": n, **mcnemar(values[metric, n], values["majority", n], lots)}
        for metric in ours
    ]


def curves(summary: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Accuracy against n, one entry a metric (differences left out): {metric, n, value, ci_low, ci_high}, lists."""
    found: dict[str, dict[str, Any]] = {}
    for row in summary:
        if "minus" not in row["metric"]:
            curve = found.setdefault(
                row["metric"], {"metric": row["metric"], "n": [], "value": [], "ci_low": [], "ci_high": []}
            )
            for key in ("n", "value", "ci_low", "ci_high"):
                curve[key].append(row[key])
    return list(found.values())
