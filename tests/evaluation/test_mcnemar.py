"""McNemar's exact test: its counts, its p-value, and ties."""

from __future__ import annotations

import math
from math import comb

import numpy as np
import pytest

from mmprm.evaluation.mcnemar import mcnemar


def test_only_problems_that_one_choice_alone_gets_right_decide() -> None:
    ours = np.array([1] * 9 + [0] * 2 + [1] * 50 + [0] * 30)
    theirs = np.array([0] * 9 + [1] * 2 + [1] * 50 + [0] * 30)
    found = mcnemar(ours, theirs)
    expected = {"both": 50, "neither": 30, "only_ours": 9, "only_theirs": 2, "open": 0}
    assert {name: found[name] for name in expected} == expected
    assert found["p_value"] == pytest.approx(2 * sum(comb(11, k) for k in range(3)) / 2**11), "two-sided binomial"
    assert mcnemar(theirs, ours)["p_value"] == pytest.approx(found["p_value"])


def test_a_tie_between_right_and_wrong_is_open_and_no_part_of_the_test() -> None:
    found = mcnemar(np.array([0.5, 1.0, 1.0, 0.0]), np.array([1.0, 1 / 3, 0.0, 0.0]))
    assert (found["open"], found["only_ours"], found["only_theirs"], found["p_value"]) == (2, 1, 0, 1.0)


def test_choices_that_never_differ_have_a_p_value_of_one() -> None:
    assert mcnemar(np.array([1.0, 0.0]), np.array([1.0, 0.0]))["p_value"] == 1.0


@pytest.mark.parametrize("bad", [math.nan, 1.5, -0.5])
def test_what_is_no_accuracy_raises(bad: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        mcnemar(np.array([bad, 1.0]), np.array([1.0, 1.0]))
    with pytest.raises(ValueError, match="accuracies"):
        mcnemar(np.array([1.0]), np.array([1.0, 1.0]))


def test_the_p_value_is_uniform_enough_where_the_choices_are_alike() -> None:
    """Exact tests are conservative: at most 5 % of p-values lie below 0.05 where nothing differs."""
    rng = np.random.default_rng(1)
    pairs = rng.random((2, 400, 120)) < 0.5
    small = np.mean([mcnemar(ours, theirs)["p_value"] < 0.05 for ours, theirs in zip(*pairs, strict=True)])
    assert 0.01 < small <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)
