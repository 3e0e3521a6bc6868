"""McNemar's exact test: its counts, its p-value, and ties."""

from __future__ import annotations

import math
from math import comb

import numpy as np
import pytest

from mmprm.evaluation.intervals import mcnemar


def test_only_problems_that_one_choice_alone_gets_right_decide() -> None:
    ours = np.array([1] * 9 + [0] * 2 + [1] * 50 + [0] * 30)
    theirs = np.array([0] * 9 + [1] * 2 + [1] * 50 + [0] * 30)
    found = mcnemar(ours, theirs, seed=0)
    expected = {"both": 50, "neither": 30, "only_ours": 9, "only_theirs": 2, "by_lot": 0}
    assert {name: found[name] for name in expected} == expected
    assert found["p_value"] == pytest.approx(2 * sum(comb(11, k) for k in range(3)) / 2**11), "two-sided binomial"
    assert found["p_low"] == found["p_value"] == found["p_high"] == mcnemar(theirs, ours, seed=1)["p_value"]


def test_a_tie_falls_at_random_for_both_choices_alike_and_all_is_the_mean_over_many_falls() -> None:
    ours, theirs = np.array([0.5, 1.0, 1.0, 0.0, 0.5]), np.array([1.0, 1 / 3, 0.0, 0.0, 0.5])
    found = mcnemar(ours, theirs, seed=0)
    counts = [found[name] for name in ("both", "neither", "only_ours", "only_theirs", "by_lot")]
    assert counts == pytest.approx([0.5 + 1 / 3 + 0.5, 1.5, 2 / 3 + 1, 0.5, 3])
    # Only with both of the second and third problem, and without the first, is p not 1: 2 / 2^2.
    assert found["p_value"] == pytest.approx(1 - 0.5 * (2 / 3) * (1 / 2), abs=0.02)
    assert (found["p_low"], found["p_high"]) == (0.5, 1)


def test_where_much_is_tied_one_fall_says_little_and_the_mean_is_nearly_the_same_for_each_seed() -> None:
    """Of forty ties one fall gave p-values from below 0.01 to above 0.2."""
    ours, theirs = np.array([1.0] * 14 + [0.5] * 40), np.array([0.0] * 14 + [1.0] * 20 + [0.0] * 20)
    found = [mcnemar(ours, theirs, seed) for seed in range(3)]
    assert found[0]["p_low"] < 0.01 and found[0]["p_high"] > 0.15
    assert np.ptp([one["p_value"] for one in found]) < 0.01
    assert mcnemar(ours, theirs, 0) == found[0]


def test_choices_that_never_differ_have_a_p_value_of_one() -> None:
    assert mcnemar(np.array([1.0, 0.5]), np.array([1.0, 0.5]), seed=0)["p_value"] == 1.0


@pytest.mark.parametrize("bad", [math.nan, 1.5, -0.5])
def test_what_is_no_accuracy_raises(bad: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        mcnemar(np.array([bad, 1.0]), np.array([1.0, 1.0]), 0)
    with pytest.raises(ValueError, match="accuracies"):
        mcnemar(np.array([1.0]), np.array([1.0, 1.0]), 0)


def test_where_nothing_differs_few_p_values_are_small_ties_included() -> None:
    """Exact tests are conservative: at most 5 % of p-values lie below 0.05. One choice is often tied."""
    rng = np.random.default_rng(1)
    often = rng.choice([0.0, 0.5, 1.0], size=(300, 120))
    never = (rng.random((300, 120)) < 0.5) * 1.0
    small = [mcnemar(*pair, seed=0)["p_value"] < 0.05 for pair in zip(often, never, strict=True)]
    assert 0.01 < np.mean(small) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
