"""PRMs that rank the same candidates, compared problem by problem. In: the scores of each. Out: paired differences.

All rank the same candidates of the same problems, so that the difference in each problem is what is resampled: what the
PRMs have in common does not widen its interval.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmprm.config import Config
from mmprm.evaluation.candidates import Row, candidates_by_problem, candidates_of, join_scores
from mmprm.evaluation.intervals import intervals
from mmprm.evaluation.selection_rules import per_problem
from mmprm.runtime.errors import UserError

# What a PRM decides. A difference to a baseline differs between two PRMs by as much: they have the baselines in common.
_RULES = ("bon", "weighted_majority")


def minus_first(
    config: Config, problems: Path, candidates: Path, scores: Mapping[str, Path]
) -> dict[str, dict[tuple[str, int], Row]]:
    """Compare all PRMs but the first with the first: name -> (metric, n) -> {value, ci_low, ci_high} of the difference.

    scores: tables of schemas.SCORES by name. The metrics are bon/… and weighted_majority… (see `selection_rules`),
    differences are in [-1, 1]. Intervals are BCa over problems, those that share an image as one, on the same resamples
    as the benchmark's own. Raises UserError where no problem has a verdict, or a candidate has no score.
    """
    first, *others = scores
    if not others:
        return {}
    bench = config.bench
    by_id, rows = candidates_by_problem(problems, candidates)
    values, groups = {}, []
    for name, path in scores.items():
        every = [candidates_of(by_id[problem], group) for problem, group in join_scores(rows, path).items()]
        counted = [problem for problem in every if problem is not None]  # by verdicts alone: the same for every PRM
        if not counted:
            raise UserError(f"{candidates}: no problem has a graded candidate; was the grader working?")
        groups = [problem.group for problem in counted]
        metrics = per_problem(counted, bench.n, bench.primary, config.seed)
        values[name] = {key: row for key, row in metrics.items() if key[0].partition("/")[0] in _RULES}
    compared = {}
    for name in others:
        differences = np.stack([values[name][key] - row for key, row in values[first].items()])
        ends = intervals(differences, bench.confidence, bench.resamples, config.seed, groups)
        compared[name] = {
            key: {"value": float(value), "ci_low": float(low), "ci_high": float(high)}
            for key, value, low, high in zip(values[first], *ends, strict=True)
        }
    return compared
