"""What each rule chooses, by kind of problem. In: the values of each training, the problems. Out: rows of metrics.json.

A description: no kind was named beforehand, and among many kinds some lie far off by chance.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmprm.config import Bench
from mmprm.data.problem import Problem
from mmprm.evaluation.trainings import measured

MOST = 40  # kinds of a table; where there are more (a topic a problem) it would tell nothing
_KEYS = ("family", "answer_type")  # fields of a problem


def by_kind(
    problems: Sequence[Problem],
    each: Sequence[Mapping[tuple[str, int], np.ndarray]],
    n: int,
    bench: Bench,
    seed: int,
    groups: Sequence[str],
) -> list[dict[str, Any]]:
    """Return {key, kind, problems, <metric>: {value, ci_low, ci_high}} of each family and each type of answer.

    problems, groups: those that count, and what they share an image with, in the order of the arrays in `each`, one of
    (metric, n) -> (problems,) a training. A key whose kinds are one, or more than MOST, has no rows; a problem without
    a family is of the kind "". Values are those with n candidates: fractions in [0, 1], differences in [-1, 1].
    """
    metrics = ["random", f"bon/{bench.primary}", "majority", "weighted_majority", "oracle"]
    metrics += [f"bon_minus_{other}/{bench.primary}" for other in ("random", "majority")]
    values = np.stack([np.stack([of[metric, n] for metric in metrics]) for of in each])
    rows = []
    for key in _KEYS:
        kinds = np.array([getattr(problem, key) or "" for problem in problems])
        names = sorted(set(kinds.tolist()))
        for name in names if 1 < len(names) <= MOST else []:
            chosen = kinds == name
            within = [group for group, is_in in zip(groups, chosen, strict=True) if is_in]
            part = values[:, :, chosen]
            differences = ["_minus_" in metric for metric in metrics]
            found = measured(part, bench.confidence, bench.resamples, seed, within, differences)
            named = dict(zip(metrics, found, strict=True))
            rows.append({"key": key, "kind": name, "problems": int(chosen.sum()), **named})
    return rows
