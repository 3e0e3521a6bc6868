"""McNemar's exact test of two deterministic choices on the same problems (McNemar 1947).

In: for each problem the expected accuracy of two choices. Out: the counts of the four outcomes and a p-value. Under the
null hypothesis a problem that just one of the two gets right falls to either with probability 1/2: the two-sided
binomial test over those problems.

Ties. A choice among all candidates is right or wrong but for ties between right and wrong candidates (or answers),
where its accuracy lies between 0 and 1. Such a problem is open: it is counted as open and is not in the test, since a
coin would decide on which side it falls. The test takes problems for independent: it is not made where some share an
image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import binomtest

_NEAR = 1e-9


def mcnemar(ours: np.ndarray, theirs: np.ndarray) -> dict[str, Any]:
    """{both, neither, only_ours, only_theirs, open, p_value}; p_value is 1 where no decided problem tells them apart.

    Raises ValueError for accuracies outside of [0, 1], NaN included, and for unequal lengths.
    """
    ours, theirs = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if ours.shape != theirs.shape:
        raise ValueError(f"{ours.size} accuracies of one choice but {theirs.size} of the other")
    if not all(((of >= -_NEAR) & (of <= 1 + _NEAR)).all() for of in (ours, theirs)):  # false for NaN too
        raise ValueError("an accuracy is not between 0 and 1")
    decided = np.all([np.minimum(of, 1 - of) <= _NEAR for of in (ours, theirs)], axis=0)
    mine, other = ours[decided] > 0.5, theirs[decided] > 0.5
    only_ours, only_theirs = int((mine & ~other).sum()), int((other & ~mine).sum())
    discordant = only_ours + only_theirs
    return {
        "both": int((mine & other).sum()),
        "neither": int((~mine & ~other).sum()),
        "only_ours": only_ours,
        "only_theirs": only_theirs,
        "open": int((~decided).sum()),
        "p_value": float(binomtest(only_ours, discordant).pvalue) if discordant else 1.0,
    }
