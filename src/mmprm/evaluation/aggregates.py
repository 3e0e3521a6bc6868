"""One number a candidate from its step probabilities: the eight aggregates of MM-PRM (arXiv 2505.13427) and its code.

In: P(yes) at each marker, p_1..p_T. Out: a float, higher is better; only the order within a problem matters.

The paper's code gives an empty candidate 0, which is the best possible SumLogPr, and divides by zero at p = 1. Here an
empty list is minus infinity in every aggregate, and p is clamped into [EPSILON, 1 - EPSILON] wherever a logarithm or
odds are taken. A NaN raises instead of being sorted somewhere.
"""

import math
from collections.abc import Callable, Sequence

# About the spacing of float32 below 1: the least difference from certainty that a model's softmax can express.
EPSILON = 1e-7

Aggregate = Callable[[Sequence[float]], float]


def _clamped(p: Sequence[float]) -> list[float]:
    return [min(max(value, EPSILON), 1 - EPSILON) for value in p]


def _checked(function: Callable[[Sequence[float]], float]) -> Aggregate:
    def aggregate(probabilities: Sequence[float]) -> float:
        """Return -inf for an empty list; raise ValueError for a NaN or a value outside of [0, 1]."""
        if not len(probabilities):
            return -math.inf
        if not all(0 <= value <= 1 for value in probabilities):  # false for NaN too
            raise ValueError(f"not a list of probabilities: {list(probabilities)}")
        return float(function(probabilities))

    return aggregate


# fsum is exact, so that the same probabilities in another order are a tie and not a last bit apart.
AGGREGATES: dict[str, Aggregate] = {
    "min": _checked(min),
    "max": _checked(max),
    "average": _checked(lambda p: math.fsum(p) / len(p)),
    "last": _checked(lambda p: p[-1]),
    "product": _checked(lambda p: math.prod(sorted(p))),
    "sum_log_pr": _checked(lambda p: math.fsum(math.log(value) for value in _clamped(p))),
    "sum_log_odds": _checked(lambda p: math.fsum(math.log(value / (1 - value)) for value in _clamped(p))),
    "mean_odds": _checked(lambda p: math.fsum(value / (1 - value) for value in _clamped(p)) / len(p)),
}
