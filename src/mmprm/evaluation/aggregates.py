"""One number a candidate from its step probabilities: the eight aggregates of MM-PRM (arXiv 2505.13427) and its code.

In: P(yes) at each marker, p_1..p_T. Out: a float, higher is better; only the order within a problem matters, which the
areas under the ROC curve measure.

The paper's code gives an empty candidate 0, which is the best possible SumLogPr, and divides by zero at p = 1. Here an
empty list is minus infinity in every aggregate, and p is clamped into [EPSILON, 1 - EPSILON] wherever a logarithm or
odds are taken. A NaN raises instead of being sorted somewhere.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

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


def _won_pairs(scores: Sequence[float], labels: Sequence[bool]) -> tuple[float, int]:
    """Count the rightly ordered pairs, and all pairs, of a right and a wrong item (the Mann-Whitney statistic)."""
    values = np.asarray(scores, dtype=np.float64)
    right = np.asarray(labels, dtype=bool)
    if values.shape != right.shape:
        raise ValueError(f"{values.size} scores but {right.size} labels")
    if np.isnan(values).any():
        raise ValueError("a score is NaN")
    wrong = np.sort(values[~right])
    # The number of wrong ones below, and of those below or equal, averaged: an equal one counts half.
    won = (np.searchsorted(wrong, values[right], "left") + np.searchsorted(wrong, values[right], "right")).sum() / 2
    return float(won), int(right.sum()) * len(wrong)


def auc(scores: Sequence[float], labels: Sequence[bool]) -> float | None:
    """Compute how often a right item is scored above a wrong one, ties counting half; None unless both classes occur.

    Raises ValueError for NaN or unequal lengths.
    """
    won, pairs = _won_pairs(scores, labels)
    return won / pairs if pairs else None


def auc_within_problem(scores: Sequence[Sequence[float]], correct: Sequence[Sequence[bool]]) -> float | None:
    """Compute the share of right-wrong pairs of *one problem's* candidates that are ordered rightly; a list a problem.

    Problems are weighted by their number of pairs. None where no problem has both kinds. Best-of-N depends on this: a
    PRM that only knows how hard a problem is has a high `auc` and 1/2 here.
    """
    counted = [_won_pairs(*problem) for problem in zip(scores, correct, strict=True)]
    pairs = sum(count for _, count in counted)
    return sum(won for won, _ in counted) / pairs if pairs else None
