"""Majority voting (self-consistency, arXiv 2203.11171) at every n, plain and weighted by the PRM (arXiv 2206.02336).

In: for each candidate of a problem a key of its answer, None where it has none. Out: the expected accuracy over subsets
of n. Candidates without an answer do not vote; ties are split evenly over the tied answers; a subset without any vote
is wrong. Counting votes has a closed form, exact for any number of candidates. Sums of weights have none: all subsets
are enumerated, or where they are too many, a stated number of drawn ones.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np

from mmprm.data.problem import Problem
from mmprm.grading import choice, number, rules
from mmprm.grading.clean import clean, compact

RIGHT = "=gold"

MOST_SUBSETS = 12_870  # C(16, 8): with up to 16 candidates every n is exact
DRAWN_SUBSETS = 2048  # where there are more: 1.1 points of standard error a problem, and 0.05 over 500 problems


def answer_key(problem: Problem, answer: str, correct: bool) -> str:
    """Make a key of an answer: answers with the same key are the same vote.

    All right answers have one key, since each was graded equal to the gold. Wrong ones are compared by option, by value
    or by their formula without spaces; two spellings that are not recognised as equal split a wrong vote, which can
    only help the majority: a bias against the PRM's gain, not for it.
    """
    if correct:
        return RIGHT
    target = rules.target_of(problem)
    if target.kind == "choice":
        return f"options {sorted(choice.named_options(target.options, answer))}"
    value = number.parse(clean(answer))
    return f"number {value.value}" if value else f"text {compact(answer).casefold()}"


def majority(keys: Sequence[str | None], n: int) -> float:
    """Compute P(the vote of a random subset of n of the candidates is right), exactly."""
    votes = Counter(key for key in keys if key is not None)
    right = votes.pop(RIGHT, 0)
    return _majority(right, tuple(sorted(votes.values())), len(keys))[n - 1] if right else 0.0


@lru_cache(maxsize=65536)
def _majority(right: int, wrong: tuple[int, ...], m: int) -> tuple[float, ...]:
    """Compute for n = 1..m the expected accuracy, if `right` of m candidates are right; the rest do not vote.

    wrong: the votes of each wrong answer. Right wins with k votes when no wrong answer has more; with t wrong answers
    at k too it wins one time in t + 1. ways[t, r] counts how the others give r candidates, t answers at exactly k and
    none above: a product over answers.
    """
    silent = m - right - sum(wrong)
    won = np.zeros(m + 1)
    for k in range(1, right + 1):
        ways = np.zeros((len(wrong) + 1, m + 1))
        ways[0, : silent + 1] = [comb(silent, r) for r in range(silent + 1)]
        for votes in wrong:
            longer = np.zeros_like(ways)
            for j in range(min(votes, k - 1) + 1):
                longer[:, j:] += comb(votes, j) * ways[:, : m + 1 - j]
            if votes >= k:
                longer[1:, k:] += comb(votes, k) * ways[:-1, : m + 1 - k]
            ways = longer
        split = (ways / np.arange(1, len(wrong) + 2)[:, None]).sum(0)
        won[k:] += comb(right, k) * split[: m + 1 - k]
    return tuple(float(won[n] / comb(m, n)) for n in range(1, m + 1))


def subsets_are_drawn(m: int, n: int) -> bool:
    """Tell whether the weighted vote at n of m candidates is taken over drawn subsets (else over all of them)."""
    return comb(m, n) > MOST_SUBSETS


def weighted_majority(keys: Sequence[str | None], weights: np.ndarray, n: int, seed: int = 0) -> np.ndarray:
    """Compute P(the weighted vote of a random subset of n is right) for each of several weightings: (weightings,).

    weights: (weightings, M), at least 0; a candidate without an answer or with a weight of -inf (no score) does not
    vote. The answer with the largest sum of weights wins, ties are split evenly; where all votes of a subset weigh 0,
    its answers are tied. Exact, over all C(M, n) subsets, while these are at most MOST_SUBSETS; else over DRAWN_SUBSETS
    subsets drawn by `seed`, with a standard error of at most 0.5 / sqrt(DRAWN_SUBSETS) a problem. Raises ValueError for
    a NaN, or a negative weight above -inf.
    """
    weights = np.atleast_2d(np.asarray(weights, dtype=np.float64))
    if np.isnan(weights).any() or ((weights < 0) & np.isfinite(weights)).any():
        raise ValueError("a weight is NaN or negative")
    voting = (weights >= 0).all(0) & np.array([key is not None for key in keys])
    names = list(dict.fromkeys(key for key, votes in zip(keys, voting, strict=True) if votes))
    if RIGHT not in names:
        return np.zeros(len(weights))
    answers = np.array([[key == name for name in names] for key in keys]) & voting[:, None]  # (M, answers)
    m, right = len(keys), names.index(RIGHT)
    if len(names) == 1:  # right wherever there is a vote
        return np.full(len(weights), 1 - comb(m - int(voting.sum()), n) / comb(m, n))
    members = _drawn_subsets(m, n, seed) if subsets_are_drawn(m, n) else _all_subsets(m, n)
    named = members @ answers > 0  # (subsets, answers): does the answer have a vote?
    won = []
    for weighting in weights:
        sums = np.where(named, members @ (answers * np.where(voting, weighting, 0.0)[:, None]), -np.inf)
        top = sums.max(1, keepdims=True)
        tied = named & (sums >= top * (1 - 1e-12))  # equal sums may differ in their last bits
        won.append((tied[:, right] / np.maximum(tied.sum(1), 1)).mean())
    return np.array(won)


@lru_cache(maxsize=64)
def _all_subsets(m: int, n: int) -> np.ndarray:
    """List every subset of n of m as a row of zeros and ones, shape (C(m, n), m)."""
    chosen = np.array(list(combinations(range(m), n)))
    members = np.zeros((len(chosen), m))
    np.put_along_axis(members, chosen, 1.0, axis=1)
    return members


def _drawn_subsets(m: int, n: int, seed: int) -> np.ndarray:
    """Draw DRAWN_SUBSETS subsets of n of m, independent and uniform, as rows of zeros and ones."""
    order = np.random.default_rng([seed, m, n]).random((DRAWN_SUBSETS, m)).argsort(axis=1)
    return (order < n).astype(np.float64)
