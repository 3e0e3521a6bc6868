"""One number a candidate from its step probabilities: the eight aggregates of the specification, section 1.

In: P(yes) at each marker, p_1..p_T. Out: a float, higher is better; only the order within a problem matters.

The public code gives an empty candidate 0, which is the best possible SumLogPr, and divides by zero at p = 1
(defect 6). Here an empty list is minus infinity in every aggregate, and p is clamped into [EPSILON, 1 - EPSILON]
wherever a logarithm or odds are taken. A NaN raises instead of being sorted somewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

# About the spacing of float32 below 1: what a model's softmax can still tell from certainty.
EPSILON = 1e-7

Aggregate = Callable[[Sequence[float]], float]


def _clamped(p: np.ndarray) -> np.ndarray:
    return np.clip(p, EPSILON, 1 - EPSILON)


def _checked(function: Callable[[np.ndarray], float]) -> Aggregate:
    def aggregate(probabilities: Sequence[float]) -> float:
        """-inf for an empty list; ValueError for a NaN or a value outside of [0, 1]."""
        p = np.asarray(probabilities, dtype=np.float64)
        if p.size == 0:
            return -math.inf
        if not np.all((p >= 0) & (p <= 1)):  # false for NaN too
            raise ValueError(f"not a list of probabilities: {p.tolist()}")
        return float(function(p))

    return aggregate


AGGREGATES: dict[str, Aggregate] = {
    "min": _checked(np.min),
    "max": _checked(np.max),
    "average": _checked(np.mean),
    "last": _checked(lambda p: p[-1]),
    "product": _checked(np.prod),
    "sum_log_pr": _checked(lambda p: np.log(_clamped(p)).sum()),
    "sum_log_odds": _checked(lambda p: (np.log(_clamped(p)) - np.log1p(-_clamped(p))).sum()),
    "mean_odds": _checked(lambda p: (_clamped(p) / (1 - _clamped(p))).mean()),
}
