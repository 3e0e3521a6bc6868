"""Best-of-N, majority and oracle at n: the formulas equal the mean over all subsets, counted one by one."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmprm.data.problem import Problem
from mmprm.evaluation.best_of_n import expected_accuracy, oracle, random_pick, sizes, subset_share, win_probabilities
from mmprm.evaluation.votes import RIGHT, answer_key, majority

# Few different scores, so that ties occur; -inf is a candidate that did not parse.
SCORED = st.lists(st.tuples(st.sampled_from([-math.inf, 0.1, 0.5, 0.9]), st.booleans()), min_size=1, max_size=8)
VOTES = st.lists(st.sampled_from([None, RIGHT, RIGHT, "a", "a", "b", "c"]), min_size=1, max_size=8)


def best_of(subset: tuple[tuple[float, bool], ...]) -> float:
    top = max(score for score, _ in subset)
    tied = [right for score, right in subset if score == top]
    return 0.0 if top == -math.inf else sum(tied) / len(tied)


def vote_of(subset: tuple[str | None, ...]) -> float:
    counts = Counter(key for key in subset if key is not None)
    tied = [key for key, votes in counts.items() if votes == max(counts.values())]
    return tied.count(RIGHT) / len(tied) if tied else 0.0


def over_subsets(items: list, n: int, value) -> float:
    return float(np.mean([value(subset) for subset in itertools.combinations(items, n)]))


@given(SCORED)
def test_best_of_n_is_the_mean_over_all_subsets(items: list[tuple[float, bool]]) -> None:
    scores, correct = np.array([[score for score, _ in items]]), np.array([[right for _, right in items]])
    for n in range(1, len(items) + 1):
        assert expected_accuracy(scores, correct, n)[0] == pytest.approx(over_subsets(items, n, best_of))
        assert win_probabilities(scores, n).sum() == pytest.approx(1)


@given(VOTES)
def test_majority_is_the_mean_over_all_subsets(keys: list[str | None]) -> None:
    for n in range(1, len(keys) + 1):
        assert majority(keys, n) == pytest.approx(over_subsets(keys, n, vote_of))


@given(SCORED)
def test_oracle_and_random_are_the_means_over_all_subsets(items: list[tuple[float, bool]]) -> None:
    correct = np.array([[right for _, right in items]])
    for n in range(1, len(items) + 1):
        assert oracle(correct, n)[0] == pytest.approx(over_subsets(items, n, lambda s: any(right for _, right in s)))
        assert random_pick(correct)[0] == pytest.approx(
            over_subsets(items, n, lambda s: np.mean([right for _, right in s]))
        )


def test_with_one_candidate_every_choice_is_the_random_pick_of_the_parsed() -> None:
    correct = np.array([[True, False, True, False]])
    scores = np.array([[0.9, 0.1, 0.2, 0.3]])
    assert expected_accuracy(scores, correct, 1)[0] == oracle(correct, 1)[0] == random_pick(correct)[0] == 0.5
    assert majority([RIGHT, "a", RIGHT, "b"], 1) == pytest.approx(0.5)


def test_a_candidate_that_did_not_parse_is_never_chosen_while_another_one_did() -> None:
    """Defects 1 and 6: an empty candidate had the best SumLogPr."""
    correct = np.array([[False, True, False]])
    scores = np.array([[-np.inf, -1e9, -np.inf]])
    assert expected_accuracy(scores, correct, 3)[0] == 1
    assert expected_accuracy(scores, correct, 1)[0] == pytest.approx(1 / 3), (
        "alone in its subset it is chosen, and wrong"
    )
    assert expected_accuracy(np.full((1, 3), -np.inf), correct, 3)[0] == 0, "nothing to choose from is wrong"


def test_ties_are_split_evenly_and_not_by_position() -> None:
    correct = np.array([[True, False, False, False]])
    assert expected_accuracy(np.full((1, 4), 0.5), correct, 4)[0] == pytest.approx(0.25)
    assert majority([RIGHT, "a", "b", None], 4) == pytest.approx(1 / 3)


def test_expectations_stay_exact_for_many_candidates() -> None:
    assert subset_share(1000, 500)[999] == pytest.approx(0.5)
    assert majority([RIGHT] * 60 + ["a"] * 40, 100) == 1
    even = majority([RIGHT] * 50 + ["a"] * 50, 64)
    assert even == pytest.approx(0.5, abs=1e-12)


def test_sizes_are_the_powers_of_two_and_the_whole() -> None:
    assert sizes(16) == [1, 2, 4, 8, 16]
    assert sizes(12) == [1, 2, 4, 8, 12]
    assert sizes(1) == [1]


def test_wrong_answers_with_one_value_are_one_vote_however_they_are_written() -> None:
    number = Problem("p", "s", "q", "7")
    assert answer_key(number, "1/2", False) == answer_key(number, "$0.5$", False) != answer_key(number, "0.6", False)
    choice = Problem("p", "s", "q", "A", choices=("3", "4"))
    assert answer_key(choice, "B", False) == answer_key(choice, "The answer is (B) 4", False)
    formula = Problem("p", "s", "q", r"\sqrt{2}")
    assert answer_key(formula, r"\sqrt{ 3 }", False) == answer_key(formula, r"$\sqrt{3}$", False)
    assert answer_key(number, "7", True) == answer_key(number, "7.0", True) == RIGHT
