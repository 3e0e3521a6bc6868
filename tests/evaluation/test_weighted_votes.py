"""Weighted votes at every n equal the mean over all subsets, counted one by one; drawn subsets come near to it."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmprm.evaluation import votes
from mmprm.evaluation.votes import RIGHT, majority, subsets_are_drawn, weighted_majority

# Tenths and zero, so that sums are often equal; -inf is a candidate without scores.
WEIGHT = st.sampled_from([-math.inf, 0.0, 0.1, 0.2, 0.3, 0.7])
CANDIDATE = st.tuples(st.sampled_from([None, RIGHT, RIGHT, "a", "a", "b"]), WEIGHT)


def by_hand(subset: tuple[tuple[str | None, float], ...]) -> Fraction:
    """The share of right answers among those with the largest sum, in exact tenths."""
    sums: dict[str, Fraction] = {}
    for key, weight in subset:
        if key is not None and weight >= 0:
            sums[key] = sums.get(key, Fraction(0)) + Fraction(round(10 * weight), 10)
    tied = [key for key, total in sums.items() if total == max(sums.values())]
    return Fraction(tied.count(RIGHT), len(tied)) if tied else Fraction(0)


@settings(max_examples=40)
@given(st.lists(CANDIDATE, min_size=1, max_size=6))
def test_the_weighted_vote_is_the_mean_over_all_subsets_ties_included(items: list[tuple[str | None, float]]) -> None:
    keys, weights = [key for key, _ in items], np.array([weight for _, weight in items])
    for n in range(1, len(items) + 1):
        subsets = list(itertools.combinations(items, n))
        expected = sum(by_hand(subset) for subset in subsets) / len(subsets)
        assert weighted_majority(keys, weights, n)[0] == pytest.approx(float(expected), abs=1e-12)


@settings(max_examples=20)
@given(st.lists(st.sampled_from([None, RIGHT, "a", "b"]), min_size=1, max_size=8))
def test_with_equal_weights_it_is_the_majority_vote(keys: list[str | None]) -> None:
    for n in range(1, len(keys) + 1):
        assert weighted_majority(keys, np.full(len(keys), 0.3), n)[0] == pytest.approx(majority(keys, n), abs=1e-12)


def test_weighted_votes_add_up_and_ties_are_split() -> None:
    weights = np.array([[0.9, 0.4, 0.4], [0.7, 0.4, 0.4], [0.3, 0.1, 0.2], [0.0, 0.0, 0.0]])
    found = weighted_majority([RIGHT, "a", "a"], weights, 3)
    assert found.tolist() == [1, 0, 0.5, 0.5], "0.1 + 0.2 is 0.3, and answers that weigh nothing are tied"


def test_only_candidates_with_an_answer_and_a_score_vote() -> None:
    assert weighted_majority([None, "a", RIGHT], np.array([0.9, -math.inf, 0.0]), 3)[0] == 1
    assert weighted_majority([None, None], np.array([0.9, 0.9]), 2)[0] == 0
    assert weighted_majority([RIGHT, "a"], np.array([-math.inf, 0.9]), 2)[0] == 0
    assert weighted_majority([RIGHT, None, None], np.array([0.1, 0.1, 0.1]), 2)[0] == pytest.approx(2 / 3)


@pytest.mark.parametrize("bad", [math.nan, -0.1])
def test_a_weight_that_is_none_raises(bad: float) -> None:
    with pytest.raises(ValueError, match="weight"):
        weighted_majority([RIGHT, "a"], np.array([0.5, bad]), 1)


def test_up_to_sixteen_candidates_every_n_is_exact() -> None:
    assert not any(subsets_are_drawn(16, n) for n in range(1, 17))
    assert [n for n in (1, 2, 4, 8, 16, 32) if subsets_are_drawn(32, n)] == [4, 8, 16], "all but 1, 2 and the whole"


def test_drawn_subsets_come_near_and_are_the_same_for_the_same_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    keys = [RIGHT if right else str(rng.integers(3)) for right in rng.random(12) < 0.4]
    weights = rng.random((2, 12))
    exact = weighted_majority(keys, weights, 6)
    assert comb(12, 6) == 924 and 0.1 < exact[0] < 0.9
    monkeypatch.setattr(votes, "MOST_SUBSETS", 900)
    errors = np.array([weighted_majority(keys, weights, 6, seed) - exact for seed in range(30)])
    assert 0 < np.abs(errors).max() < 5 * 0.5 / math.sqrt(votes.DRAWN_SUBSETS)
    assert np.abs(errors.mean(0)).max() < 5 * 0.5 / math.sqrt(30 * votes.DRAWN_SUBSETS), "no bias"
    assert np.array_equal(weighted_majority(keys, weights, 6, 3), weighted_majority(keys, weights, 6, 3))
