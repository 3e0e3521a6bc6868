"""McNemar's exact test of two choices on the same problems (McNemar 1947).

In: for each problem the expected accuracy of two choices. Out: the counts of the four outcomes and a p-value. Under the
null hypothesis a problem that just one of the two gets right falls to either with probability 1/2: the two-sided
binomial test over those problems. It takes problems for independent, and is not for problems that share an image.

Ties. A choice among all candidates is right or wrong but for ties between right and wrong candidates (or answers): its
accuracy there lies between 0 and 1. Then a lot decides, one a problem for both choices, and the number of such problems
is reported. To leave them out would be unfair: majority voting is tied where it is weak, and a PRM seldom is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import binomtest

_NEAR = 1e-9


def mcnemar(ours: np.ndarray, theirs: np.ndarray, lots: np.ndarray) -> dict[str, Any]:
    """{both, neither, only_ours, only_theirs, by_lot, p_value}; p_value is 1 where no problem tells the two apart.

    lots: a uniform draw from [0, 1) for each problem: a choice of accuracy a is right where its lot lies below a.
    Raises ValueError for accuracies outside of [0, 1], NaN included, and for unequal lengths.
    """
    ours, theirs = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if not ours.shape == theirs.shape == lots.shape:
        raise ValueError(f"{ours.size} accuracies of one choice, {theirs.size} of the other, {lots.size} lots")
    if not all(((of >= -_NEAR) & (of <= 1 + _NEAR)).all() for of in (ours, theirs)):  # false for NaN too
        raise ValueError("an accuracy is not between 0 and 1")
    decided = [np.minimum(of, 1 - of) <= _NEAR for of in (ours, theirs)]
    mine, other = (np.where(sure, of > 0.5, lots < of) for sure, of in zip(decided, (ours, theirs), strict=True))
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
