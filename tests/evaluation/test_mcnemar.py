"""McNemar's exact test: its counts, its p-value, and ties."""

from __future__ import annotations

import math
from math import comb

import numpy as np
import pytest

from mmprm.evaluation.intervals import mcnemar


def lots(n: int) -> np.ndarray:
    return np.full(n, 0.4)


def test_only_problems_that_one_choice_alone_gets_right_decide() -> None:
    ours = np.array([1] * 9 + [0] * 2 + [1] * 50 + [0] * 30)
    theirs = np.array([0] * 9 + [1] * 2 + [1] * 50 + [0] * 30)
    found = mcnemar(ours, theirs, lots(91))
    expected = {"both": 50, "neither": 30, "only_ours": 9, "only_theirs": 2, "by_lot": 0}
    assert {name: found[name] for name in expected} == expected
    assert found["p_value"] == pytest.approx(2 * sum(comb(11, k) for k in range(3)) / 2**11), "two-sided binomial"
    assert mcnemar(theirs, ours, lots(91))["p_value"] == pytest.approx(found["p_value"])


def test_a_tie_between_right_and_wrong_falls_by_lot_for_both_choices_alike() -> None:
    ours, theirs = np.array([0.5, 1.0, 1.0, 0.0, 0.5]), np.array([1.0, 1 / 3, 0.0, 0.0, 0.5])
    found = mcnemar(ours, theirs, np.array([0.49, 0.34, 0.0, 0.0, 0.1]))
    assert (found["by_lot"], found["both"], found["only_ours"], found["only_theirs"]) == (3, 2, 2, 0)
    found = mcnemar(ours, theirs, np.array([0.5, 0.33, 0.99, 0.99, 0.9]))
    assert (found["both"], found["only_ours"], found["only_theirs"], found["neither"]) == (1, 1, 1, 2)


def test_choices_that_never_differ_have_a_p_value_of_one() -> None:
    assert mcnemar(np.array([1.0, 0.5]), np.array([1.0, 0.5]), lots(2))["p_value"] == 1.0


@pytest.mark.parametrize("bad", [math.nan, 1.5, -0.5])
def test_what_is_no_accuracy_raises(bad: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        mcnemar(np.array([bad, 1.0]), np.array([1.0, 1.0]), lots(2))
    with pytest.raises(ValueError, match="accuracies"):
        mcnemar(np.array([1.0]), np.array([1.0, 1.0]), lots(2))


def test_where_nothing_differs_few_p_values_are_small_ties_included() -> None:
    """Exact tests are conservative: at most 5 % of p-values lie below 0.05. One choice is often tied."""
    rng = np.random.default_rng(1)
    often = rng.choice([0.0, 0.5, 1.0], size=(300, 120))
    never = (rng.random((300, 120)) < 0.5) * 1.0
    small = [mcnemar(*pair, rng.random(120))["p_value"] < 0.05 for pair in zip(often, never, strict=True)]
    assert 0.01 < np.mean(small) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
