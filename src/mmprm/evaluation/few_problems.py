"""Intervals where a bootstrap has nothing to go by: fewer than 30 problems, or problems that are all alike.

In: values of shape (metrics, units), each in [-1, 1]. Out: ends of an interval of each row's mean. An accuracy has the
interval of Clopper and Pearson (1934, doi:10.1093/biomet/26.4.404): exact for values that are 0 or 1; for fractions,
such as the accuracy of a tie, their sum stands for the number of right ones, which widens the interval. A difference is
a share of gains less a share of losses, and has the ends of both at half the error (Bonferroni), which is wide.
"""

import numpy as np
from scipy.stats import beta

FEW = 30  # units; of 400 simulated benchmarks of accuracy 0.9, BCa intervals of 95 % held it in 79 % at 16, 94 % at 30


def exact_interval(values: np.ndarray, differences: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (lower ends, upper ends) of the mean of each row; differences: which rows are differences, (metrics,)."""
    error = 1 - confidence
    low, high = _shares(np.maximum(values, 0), np.where(differences, error / 2, error))
    lost_low, lost_high = _shares(np.maximum(-values, 0), np.full(len(values), error / 2))
    return np.where(differences, low - lost_high, low), np.where(differences, high - lost_low, high)


def _shares(values: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Clopper and Pearson's ends for means of values in [0, 1]; error: 1 - confidence of each row."""
    n, right = values.shape[1], values.sum(1)
    with np.errstate(invalid="ignore"):  # at 0 and at n one end is the bound, which beta has no quantile for
        low, high = beta.ppf(error / 2, right, n - right + 1), beta.ppf(1 - error / 2, right + 1, n - right)
    return np.where(right <= 0, 0.0, low), np.where(right >= n, 1.0, high)
