"""Area under the ROC curve: how often a right item is scored above a wrong one, ties counting half.

`auc` is over all items; `auc_within_problem` compares candidates of the same problem only. The second is what Best-of-N
lives on: a PRM that knows how hard a problem is has a high first and a useless second.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def _won_pairs(scores: Sequence[float], labels: Sequence[bool]) -> tuple[float, int]:
    """(pairs ordered rightly, pairs) over all (right, wrong) pairs (the Mann-Whitney statistic)."""
    values = np.asarray(scores, dtype=np.float64)
    right = np.asarray(labels, dtype=bool)
    if values.shape != right.shape:
        raise ValueError(f"{values.size} scores but {right.size} labels")
    if np.isnan(values).any():
        raise ValueError("a score is NaN")
    wrong = np.sort(values[~right])
    # The number of wrong ones below, and of those below or level, averaged: a level one counts half.
    won = (np.searchsorted(wrong, values[right], "left") + np.searchsorted(wrong, values[right], "right")).sum() / 2
    return float(won), int(right.sum()) * len(wrong)


def auc(scores: Sequence[float], labels: Sequence[bool]) -> float | None:
    """AUC over all items; None unless both classes occur. Raises ValueError for NaN or unequal lengths."""
    won, pairs = _won_pairs(scores, labels)
    return won / pairs if pairs else None


def auc_within_problem(scores: Sequence[Sequence[float]], correct: Sequence[Sequence[bool]]) -> float | None:
    """The share of all right-wrong pairs of *one problem's* candidates that are ordered rightly; one list a problem.

    Problems weigh by their number of pairs, so that a problem with 1 right of 16 (15 pairs) does not count as much
    as one with 8 of 16 (64 pairs) that says more. None where no problem has both kinds.
    """
    counted = [_won_pairs(*problem) for problem in zip(scores, correct, strict=True)]
    pairs = sum(count for _, count in counted)
    return sum(won for won, _ in counted) / pairs if pairs else None
