"""How the judgement of steps depends on threshold and depth. In: P(yes) and labels of markers. Out: plain rows."""

from typing import Any

import numpy as np

from mmprm.evaluation.aggregates import auc
from mmprm.training.losses import constant_loss

Row = dict[str, Any]

_POINTS = 101  # of a curve, at most


def roc(predicted: np.ndarray, right: np.ndarray) -> list[Row]:
    """Return the curve {false_positive, true_positive} of calling a step right, from (0, 0) to (1, 1).

    In: arrays over markers, right being bool. Of more than 101 thresholds evenly spaced ones are kept. Empty where all
    steps are right or none is. The area below the whole curve is the AUC over steps.
    """
    n_right, n_wrong = int(right.sum()), int((~right).sum())
    if not n_right or not n_wrong:
        return []
    order = np.argsort(-predicted, kind="stable")
    ends = np.flatnonzero(np.diff(predicted[order], append=-np.inf))  # the last marker of each value
    hits = np.concatenate([[0], np.cumsum(right[order])[ends]]) / n_right
    alarms = np.concatenate([[0], np.cumsum(~right[order])[ends]]) / n_wrong
    kept = np.unique(np.linspace(0, len(hits) - 1, min(len(hits), _POINTS)).round().astype(int))
    return [{"false_positive": float(alarms[at]), "true_positive": float(hits[at])} for at in kept]


def by_depth(depth: np.ndarray, predicted: np.ndarray, soft: np.ndarray, hard: np.ndarray) -> list[Row]:
    """Return {depth, n_markers, loss, constant_loss, auc_steps} of each depth that has soft labels.

    In: arrays over markers; depth: from 1, the answer lying behind the last step; soft, hard: labels, NaN where there
    is none. auc_steps is None where no right step can be compared with a wrong one.
    """
    clipped = np.clip(predicted, 1e-7, 1 - 1e-7)
    losses = -(soft * np.log(clipped) + (1 - soft) * np.log1p(-clipped))
    rows = []
    for at in np.unique(depth[~np.isnan(soft)]).tolist():
        known, judged = (depth == at) & ~np.isnan(soft), (depth == at) & ~np.isnan(hard)
        counts: Row = {"depth": int(at), "n_markers": int(known.sum()), "loss": float(losses[known].mean())}
        constant = constant_loss(float(soft[known].mean()))
        area = auc(predicted[judged].tolist(), (hard[judged] > 0.5).tolist())
        rows.append(counts | {"constant_loss": constant, "auc_steps": area})
    return rows
