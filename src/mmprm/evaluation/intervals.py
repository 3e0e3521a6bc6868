"""Confidence intervals over problems (BCa bootstrap, Efron 1987), and McNemar's exact test of two choices (1947).

In: values of shape (metrics, problems), and the problems' groups. Out: means and their intervals. Every metric sees the
same resampled problems, so that the interval of a row of differences is the paired one.

Problems of one group (versions of a problem, questions about one image) are not independent: groups are resampled as
wholes, while the mean stays the mean over problems (the cluster bootstrap; Field and Welsh 2007,
doi:10.1111/j.1467-9868.2007.00593.x). scipy.stats.bootstrap gives the same intervals for problems without groups (a
test compares them), but it has no groups, and stores every resample of every metric instead of a matrix product.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest, norm

_CHUNK = 1000  # resamples at a time: 1000 x 4000 problems are 32 MB
_NEAR = 1e-12  # equal values may differ in their last bits
_TIE = 1e-9  # how near to 0 or 1 an accuracy is certain

Statistic = Callable[[np.ndarray], np.ndarray]  # (..., totals) -> (..., metrics)


def intervals(
    values: np.ndarray, confidence: float, resamples: int, seed: int, groups: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (means, lower ends, upper ends) over problems of each row.

    groups: the name of each problem's group; by default each is its own. Raises ValueError where there are no problems.
    See `bootstrap` for rows that do not vary.
    """
    values = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if values.shape[1] == 0:
        raise ValueError("no problems to take a mean over")
    totals = grouped(np.vstack([values, np.ones(values.shape[1])]).T, groups)
    return bootstrap(totals, ratios, confidence, resamples, seed)


def ratios(totals: np.ndarray) -> np.ndarray:
    """Divide sums by the last column, the number of items: (..., metrics + 1) -> (..., metrics)."""
    means: np.ndarray = totals[..., :-1] / totals[..., -1:]
    return means


def grouped(rows: np.ndarray, groups: Sequence[str] | None) -> np.ndarray:
    """Add up rows (problems, columns) within groups: shape (groups, columns), in the order of first appearance."""
    if groups is None:
        return rows
    index = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    totals = np.zeros((len(index), rows.shape[1]))
    np.add.at(totals, [index[name] for name in groups], rows)
    return totals


def bootstrap(
    totals: np.ndarray, statistic: Statistic, confidence: float, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (values, lower ends, upper ends) of metrics that are functions of totals over the drawn units.

    totals: (units, columns), what each unit adds; statistic: totals (..., columns) -> metrics (..., metrics). Where a
    metric does not vary (one unit, or equal ones) the interval is its value; where BCa's correction is not finite
    (every resample on one side), percentiles are taken. Resamples in which a metric is not defined (NaN: a ratio
    without a denominator) are left out of its interval; a metric that is not defined at all is NaN with NaN ends.
    """
    n = len(totals)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = totals.sum(0)
        values = statistic(total)
        without_one = statistic(total - totals)  # the jackknife, (units, metrics)
        rng = np.random.default_rng(seed)
        chunks = []
        for start in range(0, resamples, _CHUNK):
            counts = rng.multinomial(n, np.full(n, 1 / n), size=min(_CHUNK, resamples - start))
            chunks.append(statistic(counts @ totals))
    resampled = np.concatenate(chunks)
    low, high = values.copy(), values.copy()
    for metric in np.flatnonzero(np.isfinite(values)):
        drawn = resampled[:, metric]
        drawn = drawn[np.isfinite(drawn)]
        if len(drawn) and np.ptp(drawn) > _NEAR * max(1.0, abs(values[metric])):
            levels = _levels(values[metric], drawn, without_one[:, metric], confidence)
            low[metric], high[metric] = np.quantile(drawn, levels)
    return values, low, high


def _levels(value: float, resampled: np.ndarray, without_one: np.ndarray, confidence: float) -> np.ndarray:
    """Compute the two quantiles to take: corrected for bias (z0) and skewness (acceleration, from the jackknife)."""
    plain = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    near = _NEAR * max(1.0, abs(value))
    below = (resampled < value - near).mean() + (np.abs(resampled - value) <= near).mean() / 2
    z0 = norm.ppf(below)
    off = without_one.mean() - without_one
    spread = (off**2).sum()
    if not np.isfinite(z0) or not np.isfinite(spread) or spread == 0:
        return plain
    acceleration = (off**3).sum() / (6 * spread**1.5)
    z = z0 + norm.ppf(plain)
    denominator = 1 - acceleration * z
    if (denominator <= 0).any():
        return plain
    levels: np.ndarray = norm.cdf(z0 + z / denominator)
    return levels


def mcnemar(ours: np.ndarray, theirs: np.ndarray, draws: np.ndarray) -> dict[str, Any]:
    """Return {both, neither, only_ours, only_theirs, by_lot, p_value}; p_value is 1 where no problem differs.

    In: the expected accuracy of both choices by problem, between 0 and 1 where right and wrong candidates are tied.
    Such ties are broken at random: a choice of accuracy a is right where the problem's draw, uniform from [0, 1), lies
    below a; by_lot counts them. To leave them out would be unfair: majority voting is tied where it is weak, a PRM
    seldom is. Under the null hypothesis a problem that just one of the two gets right is that of either with
    probability 1/2: the two-sided binomial test over those problems, which must be independent (share no image).
    Raises ValueError for accuracies outside of [0, 1], NaN included, and for unequal lengths.
    """
    ours, theirs = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if not ours.shape == theirs.shape == draws.shape:
        raise ValueError(f"{ours.size} accuracies of one choice, {theirs.size} of the other, {draws.size} draws")
    if not all(((of >= -_TIE) & (of <= 1 + _TIE)).all() for of in (ours, theirs)):  # false for NaN too
        raise ValueError("an accuracy is not between 0 and 1")
    decided = [np.minimum(of, 1 - of) <= _TIE for of in (ours, theirs)]
    mine, other = (np.where(sure, of > 0.5, draws < of) for sure, of in zip(decided, (ours, theirs), strict=True))
    only_ours, only_theirs = int((mine & ~other).sum()), int((other & ~mine).sum())
    discordant = only_ours + only_theirs
    return {
        "both": int((mine & other).sum()),
        "neither": int((~mine & ~other).sum()),
        "only_ours": only_ours,
        "only_theirs": only_theirs,
        "by_lot": int((~(decided[0] & decided[1])).sum()),
        "p_value": float(binomtest(only_ours, discordant).pvalue) if discordant else 1.0,
    }
