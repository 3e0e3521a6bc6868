"""Majority voting (self-consistency, arXiv 2203.11171): exact at every n, and weighted by the PRM at n = M.

In: for each candidate of a problem a key of its answer, None where it has none. Out: the expected accuracy. Candidates
without an answer do not vote; ties are split evenly over the tied answers; a subset without any vote is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from math import comb

import numpy as np

from mmprm.grading import choice, number, rules
from mmprm.grading.clean import clean, compact
from mmprm.problem import Problem

RIGHT = "=gold"


def answer_key(problem: Problem, answer: str, correct: bool) -> str:
    """Answers with the same key are the same vote.

    All right answers are one key, since each was graded equal to the gold. Wrong ones are compared by option, by value
    or by their formula without spaces; two spellings that this takes for different split a wrong vote, which can only
    help the majority: a bias against the PRM's gain, not for it.
    """
    if correct:
        return RIGHT
    target = rules.target_of(problem)
    if target.kind == "choice":
        return f"options {sorted(choice.named(target.options, answer))}"
    value = number.parse(clean(answer))
    return f"number {value.value}" if value else f"text {compact(answer).casefold()}"


def majority(keys: Sequence[str | None], n: int) -> float:
    """P(the vote of a random subset of n of the candidates is right), exactly."""
    votes = Counter(key for key in keys if key is not None)
    right = votes.pop(RIGHT, 0)
    return _majority(right, tuple(sorted(votes.values())), len(keys))[n - 1] if right else 0.0


@lru_cache(maxsize=65536)
def _majority(right: int, wrong: tuple[int, ...], m: int) -> tuple[float, ...]:
    """For n = 1..m: the expected accuracy, when `right` of m candidates are right and the wrong answers have `wrong`
    votes each; the rest do not vote.

    Right wins with k votes when no wrong answer has more; with t wrong answers at k too it wins one time in t + 1.
    ways[t, r] counts how the others give r candidates, t answers at exactly k and none above: a product over answers.
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


def weighted_majority(keys: Sequence[str | None], weights: Sequence[float]) -> float:
    """The share of right answers among those with the largest sum of weights, over all candidates.

    Weights are at least 0; a candidate without an answer or with a weight of -inf (no score) does not vote.
    """
    sums: dict[str, float] = {}
    for key, weight in zip(keys, weights, strict=True):
        if key is not None and weight >= 0:
            sums[key] = sums.get(key, 0.0) + weight
    if not sums:
        return 0.0
    top = max(sums.values())
    tied = [key for key, total in sums.items() if total >= top * (1 - 1e-12)]
    return tied.count(RIGHT) / len(tied)
