"""Every rule to select among a problem's candidates, at every n. In: `Candidates`. Out: accuracies with intervals.

The metrics; all but the differences are accuracies in [0, 1]:

- bon/{aggregate}: Best-of-N, the candidate with the highest score (`best_of_n.expected_accuracy`); orm/{variant}: the
  one with the highest P(yes) at the last marker by a PRM that was trained on outcomes alone
- random: a uniform pick, which is pass@1; random_parsed: one of those that parse; oracle: pass@n, unbiased
- majority, and weighted_majority/{aggregate}: the vote weighted by one of the aggregates that are probabilities;
  weighted_majority alone: by that which stands for the primary aggregate
- {rule}_minus_{baseline}: paired differences in [-1, 1]; bon_minus_fewer/{primary}: to itself at the next smaller n
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mmprm.config import Bench
from mmprm.data.problem import Problem
from mmprm.evaluation import votes
from mmprm.evaluation.aggregates import AGGREGATES
from mmprm.evaluation.best_of_n import expected_accuracy, oracle, random_pick, sizes
from mmprm.evaluation.by_kind import by_kind
from mmprm.evaluation.candidates import (
    Candidates,
    all_skipped,
    candidate_counts,
    candidates_of,
    was_skipped,
    within_problem,
)
from mmprm.evaluation.intervals import mcnemar
from mmprm.evaluation.official_scores import official_scores
from mmprm.evaluation.trainings import apart, measured, over_trainings
from mmprm.runtime.errors import UserError

Row = dict[str, Any]
Values = dict[tuple[str, int], np.ndarray]  # (metric, n) -> values of shape (problems,)

# What the rules are compared with, on the same candidates.
BASELINES = ("random", "random_parsed", "majority")
# The weight of a vote must not be negative, nor let one candidate outvote all others: what stands in for an aggregate
# that is not a probability.
_STAND_IN = {"sum_log_pr": "product", "sum_log_odds": "average", "mean_odds": "average"}
WEIGHTS = tuple(name for name in AGGREGATES if name not in _STAND_IN)
_INTERVAL = ("value", "ci_low", "ci_high")


def weight_of(aggregate: str) -> str:
    """Return the aggregate that weights votes for this one: itself where it is a probability."""
    return _STAND_IN.get(aggregate, aggregate)


def selection_metrics(
    problems: Mapping[str, Problem],
    rows: Mapping[str, Sequence[Row]],
    bench: Bench,
    n: int,
    seed: int,
    outcome: Sequence[str] = (),
    kind: str = "",
    others: Sequence[Mapping[str, Sequence[Row]]] = (),
) -> dict[str, Any]:
    """Make everything that metrics.json says of one set of candidates.

    rows: problem id -> its candidates with `probabilities` (see candidates.join_scores); n: the largest number of
    candidates a problem; outcome: see candidates.candidates_of; kind: of the source, for its official scores; others:
    `rows` with the probabilities of the recipe's other trainings, if there are any. A row of `rows` is {n, metric,
    value, ci_low, ci_high, problems, primary}; of several trainings the value is their mean, the interval is over
    problems and trainings, {trainings, lowest, highest, sd} are added, and `by_training` lists each one's values.
    Raises UserError where no candidate has a verdict.
    """
    shown = {name: group for name, group in rows.items() if not any(map(was_skipped, group))}
    if rows and not shown:
        raise UserError(all_skipped(len(rows)))
    trainings = [_counted(problems, {name: of[name] for name in shown}, outcome) for of in (rows, *others)]
    counted = trainings[0]
    groups = [candidates.group for candidates in counted]
    each = [per_problem(candidates, n, bench.primary, seed) for candidates in trainings]
    values = each[0]
    differences = ["_minus_" in metric for metric, _ in values]
    stacked = np.stack([np.stack(list(of.values())) for of in each])
    means, low, high = over_trainings(stacked, bench.confidence, bench.resamples, seed, groups, differences)
    summary = []
    for (metric, at), *ends, more in zip(values, means, low, high, apart(stacked.mean(-1)), strict=True):
        primary = metric.startswith("bon") and metric.endswith(f"/{bench.primary}")
        row = {"n": at, "metric": metric, **dict(zip(_INTERVAL, map(float, ends), strict=True))}
        summary.append(row | {"problems": len(counted), "primary": primary} | more)
    most = max(candidates.size for candidates in counted)
    return {
        "n": n,
        "n_problems": len(counted),
        "n_problems_undecided": len(shown) - len(counted),
        **({"n_problems_needs_images": len(rows) - len(shown)} if len(shown) < len(rows) else {}),
        "n_groups": len(set(groups)),
        "primary": bench.primary,
        "weighted_majority_by": weight_of(bench.primary),
        # All other metrics are exact; see votes.weighted_majority.
        "weighted_majority_drawn_at": [at for at in sizes(n) if votes.subsets_are_drawn(most, min(at, most))],
        "weighted_majority_subsets": votes.DRAWN_SUBSETS,
        "confidence": bench.confidence,
        "resamples": bench.resamples,
        **candidate_counts([row for group in shown.values() for row in group], len(shown)),
        "auc_within_problem": _means([within_problem(candidates) for candidates in trainings]),
        # The test is of two choices: of one training's.
        "mcnemar": [] if others else mcnemar_tests(values, n, bench.primary, counted, seed),
        "weighted_majority_gain": _means(
            [_gain_of_votes(of["weighted_majority", n], of["majority", n]) for of in each]
        ),
        "pass_at_k": [
            {"k": row["n"], **{key: row[key] for key in _INTERVAL}} for row in summary if row["metric"] == "oracle"
        ],
        "accuracy": {row["metric"]: row["value"] for row in summary if row["n"] == n},
        "official": _official(kind, [one.problem_id for one in counted], each, n, bench, seed),
        "by_kind": by_kind([problems[one.problem_id] for one in counted], each, n, bench, seed, groups),
        "rows": summary,
        "curves": curves(summary),
        **({"by_training": [_at(of, n) for of in each]} if others else {}),
    }


def _counted(
    problems: Mapping[str, Problem], rows: Mapping[str, Sequence[Row]], outcome: Sequence[str]
) -> list[Candidates]:
    """Return the problems that count, which follows from verdicts alone: the same ones whatever PRM has scored them."""
    every = [candidates_of(problems[name], group, outcome) for name, group in rows.items()]
    counted = [candidates for candidates in every if candidates is not None]
    if not counted:
        raise UserError("no problem has a graded candidate; was the grader working?")
    return counted


def _at(values: Values, n: int) -> dict[str, float]:
    """Return the means over problems of what one training's metrics are with n candidates."""
    return {metric: float(row.mean()) for (metric, at), row in values.items() if at == n}


def _means(each: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Return the mean of each entry over the trainings; that of one training as it is, None where one has none."""
    if len(each) == 1:
        return dict(each[0])
    columns = {name: [of[name] for of in each] for name in each[0]}
    return {name: None if None in column else float(np.mean(column)) for name, column in columns.items()}  # type: ignore[arg-type]


def _official(kind: str, ids: Sequence[str], each: Sequence[Values], n: int, bench: Bench, seed: int) -> list[Row]:
    """List the official scores of the benchmark's kind with n candidates, {choice, score, value, ci_low, ci_high}."""
    found = []
    for choice in ("random", "majority", f"bon/{bench.primary}"):
        scores = [official_scores(kind, ids, values[choice, n]) for values in each]
        for score in scores[0]:
            by_unit = np.stack([of[score] for of in scores])[:, None]
            if by_unit.shape[-1]:
                (row,) = measured(by_unit, bench.confidence, bench.resamples, seed, differences=[False])
                found.append({"choice": choice, "score": score, **row})
    return found


def per_problem(counted: Sequence[Candidates], n_max: int, primary: str, seed: int = 0) -> Values:
    """Compute the values of every metric. A problem with fewer counted candidates than n uses all it has."""
    correct = [one.correct for one in counted]
    # One score for all that parse: what a rule gains that knows this of a candidate and nothing else.
    parsed = [np.where(one.parsed, 0.0, -np.inf) for one in counted]
    values: Values = {}
    for n in sizes(n_max):
        values["random", n] = _by_size(lambda right, _: random_pick(right), n, correct)
        values["random_parsed", n] = _by_size(expected_accuracy, n, parsed, correct)
        values["majority", n] = np.array([votes.majority(one.keys, min(n, one.size)) for one in counted])
        values["oracle", n] = _by_size(oracle, n, correct)
        weighted = np.array([_weighted(one, n, _draw(seed, "votes", one.problem_id)) for one in counted])
        values["weighted_majority", n] = weighted[:, WEIGHTS.index(weight_of(primary))]
        for name, column in zip(WEIGHTS, weighted.T, strict=True):
            values[f"weighted_majority/{name}", n] = column
        for name in counted[0].outcome:
            values[f"orm/{name}", n] = _by_size(expected_accuracy, n, [one.outcome[name] for one in counted], correct)
        for name in AGGREGATES:
            values[f"bon/{name}", n] = _by_size(expected_accuracy, n, [one.scores[name] for one in counted], correct)
        for metric in [metric for metric, at in values if at == n]:
            rule, _, by = metric.partition("/")
            if rule in ("weighted_majority", "orm", "bon"):
                for baseline in BASELINES:
                    difference = values[metric, n] - values[baseline, n]
                    values[f"{rule}_minus_{baseline}" + (f"/{by}" if by else ""), n] = difference
        if fewer := [at for at in sizes(n_max) if at < n]:
            values[f"bon_minus_fewer/{primary}", n] = values[f"bon/{primary}", n] - values[f"bon/{primary}", fewer[-1]]
        for name in counted[0].outcome:
            values[f"bon_minus_orm/{name}/{primary}", n] = values[f"bon/{primary}", n] - values[f"orm/{name}", n]
    return values


def _by_size(metric: Callable[..., np.ndarray], n: int, *arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Compute a metric of all problems, those with equally many candidates stacked; arrays: one a problem."""
    groups = defaultdict(list)
    for index, array in enumerate(arrays[0]):
        groups[len(array)].append(index)
    values = np.empty(len(arrays[0]))
    for m, indices in groups.items():
        values[indices] = metric(*(np.stack([array[index] for index in indices]) for array in arrays), min(n, m))
    return values


def _weighted(candidates: Candidates, n: int, seed: int) -> np.ndarray:
    weights = np.stack([candidates.scores[name] for name in WEIGHTS])
    return votes.weighted_majority(candidates.keys, weights, min(n, candidates.size), seed)


def _draw(seed: int, purpose: str, problem_id: str) -> int:
    """Draw uniformly from [0, 2^32): independent for different problems, and the same each time for one."""
    digest = hashlib.sha256(f"{seed}\x1f{purpose}\x1f{problem_id}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def mcnemar_tests(values: Values, n: int, primary: str, counted: Sequence[Candidates], seed: int) -> list[Row]:
    """Test rules on all candidates against majority voting (McNemar); none where problems are grouped."""
    if len({candidates.group for candidates in counted}) < len(counted):
        return []
    rules = [f"bon/{primary}", "weighted_majority"]
    rules += [metric for metric, at in values if at == n and metric.startswith("orm/")]
    tests = {rule: mcnemar(values[rule, n], values["majority", n], seed) for rule in rules}
    return [{"choice": rule, "against": "majority", "n": n, **test} for rule, test in tests.items()]


def _gain_of_votes(weighted: np.ndarray, plain: np.ndarray) -> dict[str, float]:
    """Split what weights add to the vote among all candidates: {ties, others} add up to it; tied: so many problems.

    Of a tie between a right answer and wrong ones any weight that is better than chance makes a gain.
    """
    tied = np.abs(plain - plain.round()) > 1e-9
    gains = weighted - plain
    return {
        "ties": float(np.where(tied, gains, 0).mean()),
        "others": float(np.where(tied, 0, gains).mean()),
        "tied": int(tied.sum()),
    }


def curves(summary: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """List accuracy against n, an entry a metric (differences left out): {metric, n, value, ci_low, ci_high}, lists."""
    by_metric: dict[str, dict[str, Any]] = {}
    for row in summary:
        if "minus" not in row["metric"]:
            curve = by_metric.setdefault(row["metric"], {"metric": row["metric"]})
            for key in ("n", *_INTERVAL):
                curve.setdefault(key, []).append(row[key])
    return list(by_metric.values())
