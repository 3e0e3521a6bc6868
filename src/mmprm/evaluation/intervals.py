"""Confidence intervals over problems: the BCa bootstrap (Efron 1987), for many metrics on the same resamples.

In: values of shape (metrics, problems). Out: means and their intervals. Every metric sees the same resampled problems,
so that the interval of a row of differences is the paired one. scipy.stats.bootstrap gives the same intervals (a test)
but gathers every resample of every metric, where here one matrix product does.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

_CHUNK = 1000  # resamples at a time: 1000 x 4000 problems are 32 MB


def bootstrap_means(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Means over problems drawn with replacement, shape (metrics, resamples)."""
    rng = np.random.default_rng(seed)
    n = values.shape[1]
    found = []
    for start in range(0, resamples, _CHUNK):
        counts = rng.multinomial(n, np.full(n, 1 / n), size=min(_CHUNK, resamples - start))
        found.append(values @ (counts.T / n))
    return np.concatenate(found, axis=1)


def intervals(
    values: np.ndarray, confidence: float, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(means, lower ends, upper ends) over problems of each row.

    Where a row is constant (one problem, or all alike) the interval is its mean; where BCa's correction is not finite
    (every resample on one side), percentiles are taken.
    """
    values = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if values.shape[1] == 0:
        raise ValueError("no problems to take a mean over")
    means = values.mean(1)
    resampled = bootstrap_means(values, resamples, seed)
    low, high = means.copy(), means.copy()
    for row in np.flatnonzero(np.ptp(values, axis=1) > 0):
        levels = _levels(values[row], means[row], resampled[row], confidence)
        low[row], high[row] = np.quantile(resampled[row], levels)
    return means, low, high


def _levels(values: np.ndarray, mean: float, resampled: np.ndarray, confidence: float) -> np.ndarray:
    """The two quantiles to take: corrected for bias (z0) and for skewness (the acceleration, from the jackknife)."""
    plain = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    near = 1e-12 * max(1.0, abs(mean))  # equal means may differ in their last bits
    below = (resampled < mean - near).mean() + (np.abs(resampled - mean) <= near).mean() / 2
    z0 = norm.ppf(below)
    if not np.isfinite(z0):
        return plain
    off = values - mean  # the jackknife's deviations, up to a factor that cancels
    acceleration = (off**3).sum() / (6 * (off**2).sum() ** 1.5)
    z = z0 + norm.ppf(plain)
    denominator = 1 - acceleration * z
    if (denominator <= 0).any():
        return plain
    found: np.ndarray = norm.cdf(z0 + z / denominator)
    return found
