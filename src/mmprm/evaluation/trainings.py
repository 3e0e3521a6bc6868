"""Intervals over problems and trainings. In: what each training of a recipe is on each problem. Out: means, intervals.

Values have the shape (trainings, metrics, problems). Their mean is off by which problems were drawn, by which trainings
were, and by what a training is on single problems: the two-way crossed model with random effects, of which readers who
all read the same cases are the known example (Dorfman, Berbaum and Metz 1992, doi:10.1097/00004424-199209000-00015).

The interval over problems of the mean over trainings (`intervals`) is made longer by what the trainings add. Variances
are those of the model's mean squares; Student's t has the degrees of freedom of Hillis (2007, doi:10.1002/sim.2532);
half the length of an interval is added as squares are (Zou and Donner 2008, doi:10.1002/sim.3095). So an interval stays
as skew as the bootstrap finds it, is exact for few problems, and is the one over problems where trainings are alike.

Resampling trainings beside problems (the pigeonhole bootstrap, Owen 2007, doi:10.1214/07-AOAS122) is not done: of R
trainings it finds (R - 1) / R of their variance, and its quantiles know no t. Where trainings alone vary, it would hold
the mean of five in 84 % of the cases, not 95 %. What no method can do: five trainings tell their standard deviation
within a factor of 0.6 to 2.9, and two hardly at all (their intervals are long). The trainings have policy, trees and
labels in common: what other ones of these would change is in no interval here.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm, t

from mmprm.evaluation.intervals import grouped, intervals

_NEAR = 1e-12  # equal values may differ in their last bits


def over_trainings(
    values: np.ndarray,
    confidence: float,
    resamples: int,
    seed: int,
    groups: Sequence[str] | None = None,
    differences: Sequence[bool] | np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (means, lower ends, upper ends) over problems and trainings of each metric; see `intervals`.

    values: (trainings, metrics, problems), of the same problems in each training; of one training the intervals are
    those over problems. differences: which metrics are differences in [-1, 1], the others being accuracies in [0, 1];
    no end lies beyond these bounds.
    """
    means, low, high = intervals(values.mean(0), confidence, resamples, seed, groups, differences)
    if len(values) > 1:
        low, high = widened(means, low, high, _contributions(values, groups), confidence)
        if differences is not None:
            low, high = np.maximum(low, -np.asarray(differences, dtype=float)), np.minimum(high, 1.0)
    return means, low, high


def measured(
    values: np.ndarray,
    confidence: float,
    resamples: int,
    seed: int,
    groups: Sequence[str] | None = None,
    differences: Sequence[bool] | np.ndarray | None = None,
) -> list[dict[str, float]]:
    """Return {value, ci_low, ci_high} of each metric, as of `over_trainings`, and how its trainings lie apart."""
    ends = over_trainings(values, confidence, resamples, seed, groups, differences)
    return [
        {"value": float(value), "ci_low": float(low), "ci_high": float(high)} | more
        for value, low, high, more in zip(*ends, apart(values.mean(-1)), strict=True)
    ]


def _contributions(values: np.ndarray, groups: Sequence[str] | None) -> np.ndarray:
    """Return what each unit (a group of problems) adds to a training's mean: (trainings, units, metrics).

    The mean over units is the training's mean over problems; of a ratio of sums these are its linear terms.
    """
    parts = []
    for of_training in values:
        totals = grouped(np.vstack([of_training, np.ones(of_training.shape[1])]).T, groups)
        mean, share = of_training.mean(1), len(totals) / totals[:, -1].sum()
        parts.append(mean + share * (totals[:, :-1] - totals[:, -1:] * mean))
    return np.stack(parts)


def widened(
    values: np.ndarray, low: np.ndarray, high: np.ndarray, contributions: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of intervals over problems, moved away from the values by what at least two trainings add.

    contributions: (trainings, units, metrics), what each unit adds to each training's value, such as the pseudo-values
    of a jackknife; their mean over units is about that value. Ends that are NaN stay so.
    """
    trainings, units, _ = contributions.shape
    by_training, by_unit, mean = contributions.mean(1), contributions.mean(0), contributions.mean((0, 1))
    rest = contributions - by_training[:, None] - by_unit + mean
    of_trainings = units * ((by_training - mean) ** 2).sum(0) / (trainings - 1)
    of_units = trainings * ((by_unit - mean) ** 2).sum(0) / max(1, units - 1)
    of_rest = (rest**2).sum((0, 1)) / max(1, (trainings - 1) * (units - 1))
    # The variances of the mean over other problems alone, and over other problems and trainings.
    over_problems = of_units / (trainings * units)
    over_both = over_problems + np.maximum(of_trainings - of_rest, 0) / (trainings * units)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = (trainings - 1) * ((of_trainings + np.maximum(of_units - of_rest, 0)) / of_trainings) ** 2
    level = (1 + confidence) / 2
    more = t.ppf(level, freedom) ** 2 * over_both - norm.ppf(level) ** 2 * over_problems
    differ = np.ptp(by_training, axis=0) > _NEAR
    more = np.where(differ, np.maximum(more, 0), 0)
    return values - np.sqrt((values - low) ** 2 + more), values + np.sqrt((high - values) ** 2 + more)


def apart(by_training: np.ndarray) -> list[dict[str, float]]:
    """Return {trainings, lowest, highest, sd} of each metric, from (trainings, metrics); nothing of one training."""
    count = len(by_training)
    if count == 1:
        return [{} for _ in by_training[0]]
    ends = zip(by_training.min(0), by_training.max(0), by_training.std(0, ddof=1), strict=True)
    return [
        {"trainings": count, **dict(zip(("lowest", "highest", "sd"), map(float, row), strict=True))} for row in ends
    ]
