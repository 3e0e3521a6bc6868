"""Confidence intervals over problems (BCa bootstrap, Efron 1987), and McNemar's exact test of two choices (1947).

In: values of shape (metrics, problems), and the problems' groups. Out: means and their intervals. Every metric sees the
same resampled problems, so that the interval of a row of differences is the paired one.

Problems of one group (versions of a problem, questions about one image) are not independent: groups are resampled as
wholes, while the mean stays the mean over problems (the cluster bootstrap; Field and Welsh 2007,
doi:10.1111/j.1467-9868.2007.00593.x). scipy.stats.bootstrap gives the same intervals for problems without groups (a
test compares them), but it has no groups, and stores every resample of every metric instead of a matrix product.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.stats import binomtest, norm

from mmprm.evaluation.few_problems import FEW, exact_interval

_CHUNK = 1000  # resamples at a time: 1000 x 4000 problems are 32 MB
_NEAR = 1e-12  # equal values may differ in their last bits
_TIE = 1e-9  # how near to 0 or 1 an accuracy is certain
_BREAKS = 2000  # random tie-breaks that a p-value is the mean of

Statistic = Callable[[np.ndarray], np.ndarray]  # (..., totals) -> (..., metrics)


def intervals(
    values: np.ndarray,
    confidence: float,
    resamples: int,
    seed: int,
    groups: Sequence[str] | None = None,
    differences: Sequence[bool] | np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (means, lower ends, upper ends) over problems of each row.

    groups: the name of each problem's group; by default each is its own. differences: for rows of accuracies in [0, 1]
    and of their paired differences, which are the latter: where a bootstrap has nothing to go by (see `bootstrap`),
    these have the intervals of `few_problems`, a group counting as one problem. Without it the ends are NaN there.
    Raises ValueError where there are no problems.
    """
    values = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if values.shape[1] == 0:
        raise ValueError("no problems to take a mean over")
    totals = grouped(np.vstack([values, np.ones(values.shape[1])]).T, groups)
    means, low, high = bootstrap(totals, ratios, confidence, resamples, seed)
    if differences is not None and (missing := np.isnan(low)).any():
        units = ratios(totals)[:, missing].T
        ends = exact_interval(units, np.asarray(differences, dtype=bool)[missing], confidence)
        low[missing], high[missing] = np.minimum(ends[0], means[missing]), np.maximum(ends[1], means[missing])
    return means, low, high


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

    totals: (units, columns), what each unit adds; statistic: totals (..., columns) -> metrics (..., metrics). Of fewer
    than FEW units, and of a metric that does not vary over the resamples, the ends are NaN: such an interval would be
    too narrow. Where BCa's correction is not finite (every resample on one side), percentiles are taken. Resamples in
    which a metric is not defined (NaN: a ratio without a denominator) are left out of its interval; a metric that is
    not defined at all is NaN with NaN ends.
    """
    n = len(totals)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = totals.sum(0)
        values = statistic(total)
        without_one = statistic(total - totals)  # the jackknife, (units, metrics)
        low, high = np.full_like(values, np.nan), np.full_like(values, np.nan)
        if n < FEW:
            return values, low, high
        rng = np.random.default_rng(seed)
        chunks = []
        for start in range(0, resamples, _CHUNK):
            counts = rng.multinomial(n, np.full(n, 1 / n), size=min(_CHUNK, resamples - start))
            chunks.append(statistic(counts @ totals))
    resampled = np.concatenate(chunks)
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


def mcnemar(ours: np.ndarray, theirs: np.ndarray, seed: int) -> dict[str, Any]:
    """Return {both, neither, only_ours, only_theirs, by_lot, p_value, p_low, p_high}: McNemar's exact test with ties.

    In: the expected accuracy of both choices by problem, between 0 and 1 where right and wrong candidates are tied.
    Such ties are broken at random, for both choices by the same draw: a choice of accuracy a is right where a uniform
    draw lies below a; by_lot counts these problems. To leave them out would be unfair: majority voting is tied where it
    is weak, a PRM seldom is. Under the null hypothesis a problem that just one of the two gets right is that of either
    with probability 1/2: the two-sided binomial test over those problems, which must be independent (share no image).
    The counts are expectations over tie-breaks; p_value is the mean of the p-values of 2,000 tie-breaks by `seed`,
    p_low and p_high hold 95 % of them; all are 1 where no problem differs. Raises ValueError for accuracies outside of
    [0, 1], NaN included, and for unequal lengths.
    """
    ours, theirs = (_without_noise(np.asarray(of, dtype=np.float64)) for of in (ours, theirs))
    if ours.shape != theirs.shape:
        raise ValueError(f"{ours.size} accuracies of one choice, {theirs.size} of the other")
    tied = ((ours % 1 != 0) | (theirs % 1 != 0)).nonzero()[0]
    draws = np.random.default_rng(seed).random((_BREAKS if len(tied) else 1, len(tied)))
    mine, other = draws < ours[tied], draws < theirs[tied]
    sure = np.setdiff1d(np.arange(len(ours)), tied)
    only_ours = (mine & ~other).sum(1) + int((ours[sure] > theirs[sure]).sum())
    only_theirs = (other & ~mine).sum(1) + int((theirs[sure] > ours[sure]).sum())
    p_values = np.array(list(map(_binomial, only_ours.tolist(), only_theirs.tolist())))
    low, high = np.quantile(p_values, [0.025, 0.975])
    return {
        "both": float(np.minimum(ours, theirs).sum()),
        "neither": float((1 - np.maximum(ours, theirs)).sum()),
        "only_ours": float(np.maximum(ours - theirs, 0).sum()),
        "only_theirs": float(np.maximum(theirs - ours, 0).sum()),
        "by_lot": len(tied),
        "p_value": float(p_values.mean()),
        "p_low": float(low),
        "p_high": float(high),
    }


def _without_noise(accuracies: np.ndarray) -> np.ndarray:
    """Return accuracies with those that are within rounding of 0 or 1 set there; ValueError outside of [0, 1]."""
    if not ((accuracies >= -_TIE) & (accuracies <= 1 + _TIE)).all():  # false for NaN too
        raise ValueError("an accuracy is not between 0 and 1")
    rounded: np.ndarray = np.where(np.abs(accuracies - accuracies.round()) <= _TIE, accuracies.round(), accuracies)
    return rounded


@lru_cache(maxsize=65536)
def _binomial(ours: int, theirs: int) -> float:
    return float(binomtest(ours, ours + theirs).pvalue) if ours + theirs else 1.0
