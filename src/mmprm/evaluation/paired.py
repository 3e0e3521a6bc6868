"""PRMs that rank the same candidates, compared problem by problem. In: the scores of each. Out: paired differences.

All see the same candidates of the same problems, so that what is resampled is the difference in each problem: what the
PRMs have in common does not widen its interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.data.problem import problems_by_id
from mmprm.evaluation.candidates import Candidates, by_problem, counted_candidates, join_scores
from mmprm.evaluation.intervals import intervals
from mmprm.evaluation.selection_rules import Values, per_problem
from mmprm.runtime.errors import UserError

Row = dict[str, Any]

# What a PRM decides. A difference to a baseline differs between two PRMs by as much: they have the baselines in common.
_CHOICES = ("bon", "weighted_majority")


def minus_first(
    config: Config, problems: Path, candidates: Path, scores: Mapping[str, Path]
) -> dict[str, dict[tuple[str, int], Row]]:
    """By the names of all PRMs but the first: (metric, n) -> how much better than the first, {value, ci_low, ci_high}.

    scores: tables of schemas.SCORES by name. The metrics are bon/… and weighted_majority… (see `measures`), differences
    are in [-1, 1]. Intervals are BCa over problems, those that share an image as one, on the same resamples as the
    benchmark's own. Raises UserError where no problem has a verdict, or a candidate has no score.
    """
    first, *others = scores
    if not others:
        return {}
    by_id = problems_by_id(problems)
    rows = by_problem(tables.read_rows(candidates, schemas.CANDIDATES), by_id, candidates, problems)
    # Which problems count is for the verdicts to say: for every PRM the same.
    counted = {
        name: [
            one
            for problem, group in join_scores(rows, path).items()
            if (one := counted_candidates(by_id[problem], group)) is not None
        ]
        for name, path in scores.items()
    }
    if not counted[first]:
        raise UserError(f"{candidates}: no problem has a graded candidate; was the grader working?")
    groups = [one.group for one in counted[first]]
    values = {name: _choices(config, own) for name, own in counted.items()}
    bench = config.bench
    found = {}
    for name in others:
        differences = np.stack([values[name][key] - values[first][key] for key in values[first]])
        ends = intervals(differences, bench.confidence, bench.resamples, config.seed, groups)
        found[name] = {
            key: {"value": float(value), "ci_low": float(low), "ci_high": float(high)}
            for key, value, low, high in zip(values[first], *ends, strict=True)
        }
    return found


def _choices(config: Config, counted: Sequence[Candidates]) -> Values:
    values = per_problem(counted, config.bench.n, config.bench.primary, config.seed)
    return {(metric, n): row for (metric, n), row in values.items() if metric.partition("/")[0] in _CHOICES}
