"""Area under the ROC curve: how often a right item is scored above a wrong one, ties counting half.

In: scores and correctness. Out: a share, or None. `auc` is over all items; `auc_within_problem` compares candidates of
the same problem only. Best-of-N depends on the second: a PRM that only knows how hard a problem is has a high first and
a second of 1/2.
"""

from collections.abc import Sequence

import numpy as np


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
    """Compute the AUC over all items; None unless both classes occur. Raises ValueError for NaN or unequal lengths."""
    won, pairs = _won_pairs(scores, labels)
    return won / pairs if pairs else None


def auc_within_problem(scores: Sequence[Sequence[float]], correct: Sequence[Sequence[bool]]) -> float | None:
    """Compute the share of right-wrong pairs of *one problem's* candidates that are ordered rightly; a list a problem.

    Problems are weighted by their number of pairs, so that one with 1 right of 16 (15 pairs) counts less than one with
    8 of 16 (64 pairs), which says more. None where no problem has both kinds.
    """
    counted = [_won_pairs(*problem) for problem in zip(scores, correct, strict=True)]
    pairs = sum(count for _, count in counted)
    return sum(won for won, _ in counted) / pairs if pairs else None
