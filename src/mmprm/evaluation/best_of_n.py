"""The Best-of-N expectation at every n, with its bounds: a random pick and the oracle (pass@n).

In: scores and correctness, arrays of shape (problems, M). Out: for each n an array (problems,) of expected accuracies,
exact over all subsets of n of a problem's M candidates. No subset is drawn: which candidate wins a random subset
follows from its rank (`win_probabilities`, a hypergeometric argument), so that the only randomness left is that of the
problems and of the M candidates themselves.
"""

from math import comb

import numpy as np


def sizes(n: int) -> list[int]:
    """List 1, 2, 4, … up to n, and n itself."""
    powers = [2**k for k in range(n.bit_length()) if 2**k <= n]
    return powers if powers[-1] == n else [*powers, n]


def subset_share(m: int, n: int) -> np.ndarray:
    """Compute for k = 0..m the share of the subsets of n of m that lie within k given ones, C(k, n) / C(m, n)."""
    return np.array([comb(k, n) / comb(m, n) for k in range(m + 1)])


def win_probabilities(scores: np.ndarray, n: int) -> np.ndarray:
    """Compute P(candidate i is chosen from a random subset of n), shape (problems, M); the rows add up to 1.

    The highest score wins, ties are split evenly: candidates i with c_i scores at or below theirs and b_i below share
    [C(c_i, n) - C(b_i, n)] / C(M, n). -inf is the lowest tier, as for a candidate that has no score.
    """
    at_or_below = (scores[:, None, :] <= scores[:, :, None]).sum(-1)
    below = (scores[:, None, :] < scores[:, :, None]).sum(-1)
    share = subset_share(scores.shape[1], n)
    won: np.ndarray = (share[at_or_below] - share[below]) / (at_or_below - below)
    return won


def expected_accuracy(scores: np.ndarray, correct: np.ndarray, n: int) -> np.ndarray:
    """Compute the Best-of-N expectation: the accuracy of the highest-scored of n, in the mean over all subsets of n.

    A subset in which no candidate has a score above -inf is wrong.
    """
    accuracy: np.ndarray = (win_probabilities(scores, n) * (correct & np.isfinite(scores))).sum(-1)
    return accuracy


def oracle(correct: np.ndarray, n: int) -> np.ndarray:
    """Compute pass@n, unbiased: 1 - C(wrong, n) / C(M, n) (Chen et al. 2021, arXiv 2107.03374, equation 1)."""
    share: np.ndarray = 1 - subset_share(correct.shape[1], n)[(~correct).sum(-1)]
    return share


def random_pick(correct: np.ndarray) -> np.ndarray:
    """Compute the accuracy of a uniform pick, candidates without an answer included; the same for every n."""
    share: np.ndarray = correct.mean(-1)
    return share
