"""McNemar's exact test of two choices on the same problems (McNemar 1947).

In: for each problem the expected accuracy of two choices. Out: the counts of the four outcomes and a p-value. Under the
null hypothesis a problem that just one of the two gets right is that of either with probability 1/2: the two-sided
binomial test over those problems. It assumes independent problems: it is not for problems that share an image.

Ties. A choice among all candidates is right or wrong, except for ties between right and wrong candidates (or answers):
its accuracy there lies between 0 and 1. Such ties are broken at random, by one draw a problem for both choices, and
their number is reported. To leave them out would be unfair: majority voting is tied where it is weak, a PRM seldom is.
"""

from typing import Any

import numpy as np
from scipy.stats import binomtest

_NEAR = 1e-9


def mcnemar(ours: np.ndarray, theirs: np.ndarray, draws: np.ndarray) -> dict[str, Any]:
    """Return {both, neither, only_ours, only_theirs, by_lot, p_value}; p_value is 1 where no problem differs.

    draws: uniform from [0, 1), one a problem: a choice of accuracy a is right where the draw lies below a. by_lot: the
    number of problems in which a tie was broken at random.
    Raises ValueError for accuracies outside of [0, 1], NaN included, and for unequal lengths.
    """
    ours, theirs = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if not ours.shape == theirs.shape == draws.shape:
        raise ValueError(f"{ours.size} accuracies of one choice, {theirs.size} of the other, {draws.size} draws")
    if not all(((of >= -_NEAR) & (of <= 1 + _NEAR)).all() for of in (ours, theirs)):  # false for NaN too
        raise ValueError("an accuracy is not between 0 and 1")
    decided = [np.minimum(of, 1 - of) <= _NEAR for of in (ours, theirs)]
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
