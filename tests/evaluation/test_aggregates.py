"""The eight aggregates: golden values, and the edges where the public code goes wrong (defect 6)."""

from __future__ import annotations

import math
import random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmprm.config.section import Aggregate
from mmprm.evaluation.aggregates import AGGREGATES

P = [0.83, 0.68, 0.02, 0.01]
GOLDEN = {
    "min": 0.01,
    "max": 0.83,
    "average": 0.385,
    "last": 0.01,
    "product": 0.83 * 0.68 * 0.02 * 0.01,
    "sum_log_pr": -9.0892,
    "sum_log_odds": -6.1475,
    "mean_odds": 1.7595,
}


@pytest.mark.parametrize(("name", "value"), GOLDEN.items())
def test_golden_values_of_the_specification(name: str, value: float) -> None:
    assert AGGREGATES[name](P) == pytest.approx(value, abs=5e-5)


def test_the_configuration_offers_just_these_aggregates() -> None:
    assert set(AGGREGATES) == set(get_args(Aggregate)) == set(GOLDEN)


@pytest.mark.parametrize("name", AGGREGATES)
def test_an_empty_candidate_never_beats_the_worst_one_that_has_steps(name: str) -> None:
    """Defect 6, first half: an empty candidate scored 0, the best possible SumLogPr."""
    assert AGGREGATES[name]([]) == -math.inf < AGGREGATES[name]([0.0] * 50)


@pytest.mark.parametrize("name", AGGREGATES)
def test_probabilities_of_zero_and_one_give_finite_scores_in_the_right_order(name: str) -> None:
    """Defect 6, second half: p = 0 crashed SumLogOdds."""
    low, high = AGGREGATES[name]([0.0, 0.0]), AGGREGATES[name]([1.0, 1.0])
    assert math.isfinite(low) and math.isfinite(high) and low < high


@pytest.mark.parametrize("name", AGGREGATES)
@pytest.mark.parametrize("bad", [[0.5, math.nan], [1.5], [-0.1, 0.2]])
def test_what_is_not_a_probability_raises(name: str, bad: list[float]) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        AGGREGATES[name](bad)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.randoms())
def test_the_order_of_the_steps_matters_to_last_alone(p: list[float], rng: random.Random) -> None:
    other = rng.sample(p, len(p))
    for name in AGGREGATES.keys() - {"last"}:
        assert AGGREGATES[name](p) == AGGREGATES[name](other), name


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.data())
def test_a_more_probable_step_never_lowers_a_score(p: list[float], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(p) - 1))
    raised = [*p[:index], data.draw(st.floats(p[index], 1)), *p[index + 1 :]]
    for name, aggregate in AGGREGATES.items():
        before, after = aggregate(p), aggregate(raised)
        assert after >= before or math.isclose(after, before, rel_tol=1e-12), name
