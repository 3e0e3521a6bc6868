"""How well a PRM judges steps. In: labelled paths and P(yes) at their markers. Out: F1 scores, and the best threshold.

A step is called wrong where P(yes) is below the threshold. Steps without a label (neutral ones, and those behind a
first error where nobody judged them) are left out.

- first_error (ProcessBench, arXiv 2412.06559): `accuracy_wrong`, the share of wrong solutions in which the first step
  that is called wrong is the first wrong one; `accuracy_right`, the share of right solutions in which no step is called
  wrong; `first_error`, their harmonic mean
- macro_f1 (VisualProcessBench, arXiv 2503.10291): the mean of `f1_right` and `f1_wrong`, the F1 scores of the two
  classes over all labelled steps. The PRMScore of PRMBench (arXiv 2501.03124) is the same mean.

All of a path that was too long for the PRM counts as judged wrongly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmprm.runtime.errors import UserError

METRICS = ("first_error", "accuracy_wrong", "accuracy_right", "macro_f1", "f1_right", "f1_wrong")
_COLUMNS = 8  # of `tallies`


@dataclass(frozen=True)
class JudgedPath:
    """The labels of a path and P(yes), at its labelled markers."""

    group: str  # paths of one problem, and problems that share an image, are not independent
    subset: str  # a part of the benchmark with metrics of its own; empty: there is none
    right: np.ndarray  # bool, the labels
    p: np.ndarray | None  # P(yes); None: the PRM could not read the path

    def located_between(self) -> tuple[float, float]:
        """Return (low, high): the path is judged rightly (first_error) by thresholds t with low < t <= high."""
        assert self.p is not None
        wrong = np.flatnonzero(~self.right)
        if not len(wrong):
            return -np.inf, float(self.p.min())
        first = wrong[0]
        return float(self.p[first]), float(self.p[:first].min(initial=np.inf))


def tallies(paths: Sequence[JudgedPath], threshold: float) -> np.ndarray:
    """Compute what each path adds to the counts of `scores`, shape (paths, 8).

    Columns: wrong paths located, wrong paths, right paths passed, right paths; and of steps: right ones called right,
    wrong ones called right, right ones called wrong, wrong ones called wrong.
    """
    rows = np.zeros((len(paths), _COLUMNS))
    for row, path in zip(rows, paths, strict=True):
        column = 2 if path.right.all() else 0
        row[column + 1] = 1
        called_right = ~path.right
        if path.p is not None:
            low, high = path.located_between()
            row[column] = low < threshold <= high
            called_right = path.p >= threshold
        right, wrong = path.right, ~path.right
        row[4:] = [(part & called).sum() for called in (called_right, ~called_right) for part in (right, wrong)]
    return rows


def scores(totals: np.ndarray) -> np.ndarray:
    """Compute METRICS from summed tallies, shape (..., 8) -> (..., 6); NaN where a class does not occur."""
    with np.errstate(invalid="ignore", divide="ignore"):
        located, wrong, passed, right, tp, fp, fn, tn = np.moveaxis(totals, -1, 0)
        accuracy_wrong, accuracy_right = located / wrong, passed / right
        both = accuracy_wrong + accuracy_right
        first_error = np.where(both == 0, 0.0, 2 * accuracy_wrong * accuracy_right / both)
        f1_right, f1_wrong = 2 * tp / (2 * tp + fp + fn), 2 * tn / (2 * tn + fp + fn)
        # A class without a labelled step is not defined, whatever is called so.
        f1_right = np.where(tp + fn > 0, f1_right, np.nan)
        f1_wrong = np.where(tn + fp > 0, f1_wrong, np.nan)
    macro_f1 = (f1_right + f1_wrong) / 2
    return np.stack([first_error, accuracy_wrong, accuracy_right, macro_f1, f1_right, f1_wrong], axis=-1)


def by_subset(totals: np.ndarray) -> np.ndarray:
    """Compute METRICS of all paths, of each subset, and their mean over subsets.

    (..., subsets * 8) -> (..., (subsets + 2) * 6). The mean over subsets is what ProcessBench reports as its average.
    """
    split = totals.reshape(*totals.shape[:-1], -1, _COLUMNS)
    each = scores(split)
    parts = [scores(split.sum(-2))[..., None, :], each, each.mean(-2, keepdims=True)]
    joined: np.ndarray = np.concatenate(parts, axis=-2).reshape(*totals.shape[:-1], -1)
    return joined


def choose_threshold(paths: Sequence[JudgedPath], metric: str) -> float:
    """Choose the threshold with the highest first_error or macro_f1 on these paths; of several the nearest to 1/2.

    All thresholds that differ in a verdict are compared: one between each two neighbouring probabilities. Raises
    UserError where the metric is not defined, since right or wrong solutions (or steps) are missing.
    """
    read = [path for path in paths if path.p is not None]
    values = np.unique(np.concatenate([path.p for path in read if path.p is not None] or [np.empty(0)]))
    if not len(values):
        raise UserError("no path of the development set could be read")
    ends = np.concatenate([[0.0], values, [max(1.0, np.nextafter(values[-1], 2))]])
    thresholds = np.unique((ends[:-1] + ends[1:]) / 2)
    totals = np.zeros((len(thresholds), _COLUMNS))
    totals += tallies([path for path in paths if path.p is None], 0.5).sum(0)
    for column, wanted in ((0, False), (2, True)):
        bounds = [path.located_between() for path in read if path.right.all() == wanted]
        totals[:, column + 1] += len(bounds)
        low, high = np.array([pair for pair in bounds if pair[0] < pair[1]]).reshape(-1, 2).T
        totals[:, column] += _below(low, thresholds) - _below(high, thresholds)
    for column, wanted in ((4, True), (5, False)):
        p = np.concatenate([path.p[path.right == wanted] for path in read if path.p is not None])
        called_wrong = _below(p, thresholds)
        totals[:, column] += len(p) - called_wrong
        totals[:, column + 2] += called_wrong
    values = scores(totals)[:, METRICS.index(metric)]
    if np.isnan(values).any():
        raise UserError(f"{metric} is not defined on the development set: it needs right and wrong solutions and steps")
    best = thresholds[values >= values.max() - 1e-12]
    return float(best[np.abs(best - 0.5).argmin()])


def _below(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Count the values below each threshold."""
    return np.searchsorted(np.sort(values), thresholds, side="left")
