"""Two runs on the problems that they share. In: the tables of a benchmark in each. Out: paired differences, intervals.

Problems are shared that have the same id, question, choices, answer and images. Each run's candidates are its own
policy's, so that a difference is that of all that the runs differ in: policy, trees, labels, PRM. Every metric is that
of `selection_rules`, and all differences are taken problem by problem, the other run's minus the first one's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmprm.config.evaluation import Bench
from mmprm.data.problem import Problem
from mmprm.evaluation.best_of_n import sizes
from mmprm.evaluation.candidates import Candidates, candidates_by_problem, candidates_of, group_of, join_scores
from mmprm.evaluation.selection_rules import per_problem
from mmprm.evaluation.trainings import over_trainings
from mmprm.runtime.errors import UserError

Row = dict[str, Any]


@dataclass(frozen=True)
class RankedBy:
    """The tables of a benchmark as one PRM of a run has ranked it; scores: one table a training; n: candidates each."""

    problems: Path
    candidates: Path
    scores: Sequence[Path]
    n: int


def paired(first: RankedBy, other: RankedBy, bench: Bench, seed: int) -> Row:
    """Compare two PRMs with candidates of their own on the problems that both have.

    bench: whose primary aggregate, confidence and resamples are taken. Returns {n, trainings, problems, groups,
    only_first, only_other, changed, undecided, rows, by_problem}: n is the largest number of candidates that both runs
    have; of several trainings the first ones are paired, as many as both have; changed: problems of the same id that
    are not the same; undecided: shared ones without a verdict in one of the runs. A row is {metric, n, first,
    first_low, first_high, other, other_low, other_high, difference, ci_low, ci_high}; by_problem lists (id, first,
    other), the accuracies of best of n by the primary aggregate. Raises UserError where no problem is shared, or a
    table is missing or damaged.
    """
    ours, theirs = _read(first), _read(other)
    same_id = [name for name in ours.problems if name in theirs.problems]
    shared = [name for name in same_id if _is_same(ours.problems[name], theirs.problems[name])]
    counted = [name for name in shared if name in ours.counted and name in theirs.counted]
    if not counted:
        raise UserError(
            f"{first.problems} and {other.problems} share {len(shared)} problems, none with a verdict in both runs"
        )
    n, trainings = min(first.n, other.n), min(len(first.scores), len(other.scores))
    keys = [(metric, at) for at in sizes(n) for metric in _metrics(bench.primary)]
    values = [
        np.stack([_values(training, counted, n, bench.primary, seed, keys) for training in run.trainings[:trainings]])
        for run in (ours, theirs)
    ]
    groups = [group_of(ours.problems[name]) for name in counted]
    settings = (bench.confidence, bench.resamples, seed, groups)
    ends = [over_trainings(of, *settings, [False] * len(keys)) for of in values]
    ends.append(over_trainings(values[1] - values[0], *settings, [True] * len(keys)))
    names = [f"{of}{end}" for of in ("first", "other") for end in ("", "_low", "_high")]
    names += ["difference", "ci_low", "ci_high"]
    columns = np.stack([end for three in ends for end in three]).T.tolist()
    rows = [
        {"metric": metric, "n": at, **dict(zip(names, line, strict=True))}
        for (metric, at), line in zip(keys, columns, strict=True)
    ]
    chosen = keys.index((f"bon/{bench.primary}", n))
    each = [of.mean(0)[chosen].tolist() for of in values]
    return {
        **{"n": n, "trainings": trainings, "problems": len(counted), "groups": len(set(groups))},
        "only_first": len(ours.problems) - len(same_id),
        "only_other": len(theirs.problems) - len(same_id),
        "changed": len(same_id) - len(shared),
        "undecided": len(shared) - len(counted),
        "rows": rows,
        "by_problem": list(zip(counted, *each, strict=True)),
    }


@dataclass(frozen=True)
class _Ranked:
    problems: Mapping[str, Problem]
    trainings: Sequence[Mapping[str, Candidates]]

    @property
    def counted(self) -> Mapping[str, Candidates]:
        return self.trainings[0]  # by verdicts alone: the same problems for every training


def _read(tables: RankedBy) -> _Ranked:
    by_id, rows = candidates_by_problem(tables.problems, tables.candidates)
    trainings = []
    for scores in tables.scores:
        joined = join_scores(rows, scores)
        every = {name: candidates_of(by_id[name], group) for name, group in joined.items()}
        trainings.append({name: one for name, one in every.items() if one is not None})
    return _Ranked(by_id, trainings)


def _is_same(ours: Problem, theirs: Problem) -> bool:
    def parts(problem: Problem) -> tuple[Any, ...]:
        return problem.question, tuple(problem.choices), problem.answer, tuple(problem.images)

    return parts(ours) == parts(theirs)


def _metrics(primary: str) -> tuple[str, ...]:
    return ("random", "majority", f"bon/{primary}", "weighted_majority", "oracle")


def _values(
    training: Mapping[str, Candidates],
    names: Sequence[str],
    n: int,
    primary: str,
    seed: int,
    keys: Sequence[tuple[str, int]],
) -> np.ndarray:
    """Return the accuracies of shape (keys, problems)."""
    metrics = per_problem([training[name] for name in names], n, primary, seed)
    return np.stack([metrics[key] for key in keys])
