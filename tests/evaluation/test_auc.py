"""AUC over all items and within problems."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmprm.evaluation.aggregates import auc, auc_within_problem

ITEMS = st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=12)


def by_pairs(items: list[tuple[int, bool]]) -> tuple[float, int]:
    """The definition: count the right-wrong pairs one by one."""
    pairs = [(a, b) for a, right in items for b, other in items if right and not other]
    return sum((a > b) + 0.5 * (a == b) for a, b in pairs), len(pairs)


@given(ITEMS)
def test_auc_is_the_share_of_right_wrong_pairs_ordered_rightly(items: list[tuple[int, bool]]) -> None:
    won, pairs = by_pairs(items)
    found = auc([score for score, _ in items], [right for _, right in items])
    assert found == (pytest.approx(won / pairs) if pairs else None)


@given(st.lists(ITEMS, max_size=4))
def test_within_problem_auc_compares_no_pair_across_problems(problems: list[list[tuple[int, bool]]]) -> None:
    counted = [by_pairs(items) for items in problems]
    pairs = sum(count for _, count in counted)
    found = auc_within_problem(
        [[score for score, _ in items] for items in problems], [[right for _, right in items] for items in problems]
    )
    assert found == (pytest.approx(sum(won for won, _ in counted) / pairs) if pairs else None)


def test_knowing_only_how_hard_a_problem_is_gives_a_within_problem_auc_of_one_half() -> None:
    easy, hard = [0.9] * 4, [0.1] * 4
    scores, correct = [easy, hard], [[True, True, True, False], [True, False, False, False]]
    assert auc(easy + hard, correct[0] + correct[1]) == pytest.approx(0.75)
    assert auc_within_problem(scores, correct) == pytest.approx(0.5)


def test_minus_infinity_ranks_lowest_and_nan_raises() -> None:
    assert auc([-math.inf, 0.0], [False, True]) == 1.0
    with pytest.raises(ValueError, match="NaN"):
        auc([math.nan, 0.0], [False, True])
    with pytest.raises(ValueError, match="scores"):
        auc([0.0], [False, True])
