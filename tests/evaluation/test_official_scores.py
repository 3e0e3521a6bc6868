"""The scores that DynaMath and We-Math report, by hand and by the counts of their own scripts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmprm.evaluation.official_scores import official_scores


def test_the_worst_case_counts_questions_that_are_right_in_every_variant() -> None:
    ids = [f"d/{question}/{variant}" for question in (1, 2, 3) for variant in (1, 2)]
    scores = official_scores("dynamath", ids, np.array([1.0, 1.0, 1.0, 0.0, 0.5, 0.5]))
    assert scores["worst_case"].mean() == pytest.approx((1 + 0 + 0.25) / 3)
    assert scores["average"].mean() == pytest.approx((1 + 0.5 + 0.5) / 3)


def counted(units: list[tuple[tuple[bool, ...], bool]]) -> dict[str, float]:
    """We-Math's counts as its four_dimensional_metrics.py makes them, written for single units."""
    total = len(units)
    generalization = sum(all(steps) and not multi for steps, multi in units)
    knowledge = sum(not all(steps) and not multi for steps, multi in units)
    rote = {
        "strict": sum(not all(steps) and multi for steps, multi in units),
        "loose": sum(not any(steps) and multi for steps, multi in units),
    }
    return {f"score_{name}": (total - 0.5 * generalization - knowledge - rote[name]) / total for name in rote} | {
        "insufficient_knowledge": knowledge / total,
        "inadequate_generalization": generalization / total,
        "complete_mastery_strict": sum(all(steps) and multi for steps, multi in units) / total,
    }


@given(
    st.lists(
        st.tuples(st.sampled_from([2, 3]).flatmap(lambda n: st.tuples(*[st.booleans()] * n)), st.booleans()), min_size=1
    )
)
def test_we_maths_scores_are_its_own_counts_where_every_answer_is_certain(
    units: list[tuple[tuple[bool, ...], bool]],
) -> None:
    ids, right = [], []
    for number, (steps, multi) in enumerate(units):
        for part, is_right in [*enumerate(steps, 1), ("multi", multi)]:
            ids.append(f"w/{len(steps)}steps_{number}/{part}")
            right.append(float(is_right))
    scores = official_scores("we_math", ids, np.array(right))
    for name, value in counted(units).items():
        assert scores[name].mean() == pytest.approx(value)


def test_an_expected_score_is_the_mean_over_what_may_be_chosen() -> None:
    chances = np.array([0.5, 0.25, 0.8])
    ids = ["w/2steps_1/1", "w/2steps_1/2", "w/2steps_1/multi"]
    scores = official_scores("we_math", ids, chances)
    expected = 0.0
    for outcome in itertools.product((False, True), repeat=3):
        weight = np.prod([c if right else 1 - c for c, right in zip(chances, outcome, strict=True)])
        expected += weight * counted([(outcome[:2], outcome[2])])["score_strict"]
    assert scores["score_strict"][0] == pytest.approx(expected)


def test_a_problem_without_all_of_its_steps_counts_for_nothing() -> None:
    assert len(official_scores("we_math", ["w/2steps_1/1", "w/2steps_1/multi"], np.ones(2))["score_strict"]) == 0
    assert official_scores("mathvista", ["m/1"], np.ones(1)) == {}
