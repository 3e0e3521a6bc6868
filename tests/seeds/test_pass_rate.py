"""When it is clear whether a problem is kept: stops that cannot change the decision, and one that seldom errs."""

from __future__ import annotations

import random
from functools import cache
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from mmprm.rollouts.rollout import Counts, count
from mmprm.seeds.pass_rate import Rule, evidence_below

VERDICTS = st.lists(st.sampled_from(["correct", "incorrect", "unparsed", "undecided"]), min_size=1, max_size=24)
BOUNDS = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)


def counts(right: int, wrong: int) -> Counts:
    return Counts(right + wrong, right, 0, 0)


@given(VERDICTS, BOUNDS)
def test_a_certain_stop_decides_what_all_rollouts_decide(verdicts: list[str], bounds: list[float]) -> None:
    rule = Rule(len(verdicts), *bounds)
    whole = rule.decide(count(verdicts))
    for drawn in range(1, len(verdicts)):
        early = rule.certain(count(verdicts[:drawn]), len(verdicts) - drawn)
        if early is not None:
            assert (early == "kept") == (whole == "kept")
            assert whole in {"too_hard": ("too_hard", "none_right"), "too_easy": ("too_easy", "all_right")}.get(
                early, (early,)
            )


@given(VERDICTS, BOUNDS, st.integers(0, 6))
def test_a_stop_is_certain_as_soon_as_no_outcome_could_change_it(
    verdicts: list[str], bounds: list[float], left: int
) -> None:
    rule, decided = Rule(len(verdicts) + left, *bounds), [one for one in verdicts if one != "undecided"]
    unknown = rule.rollouts - len(decided)
    outcomes = {
        rule.decide(count(decided + ["correct"] * more + ["incorrect"] * (unknown - more)))
        for more in range(unknown + 1)
    }
    of_one_kind = len(outcomes) == 1 or outcomes in ({"none_right", "too_hard"}, {"all_right", "too_easy"})
    assert (rule.certain(count(verdicts), left) is not None) == of_one_kind


def test_the_papers_rule_is_certain_with_one_right_and_one_wrong_and_never_before() -> None:
    rule = Rule(32)
    assert rule.stop(counts(1, 1)) == ("kept", "certain")
    assert rule.stop(counts(1, 0)) is None and rule.stop(counts(31, 0)) is None and rule.stop(counts(0, 31)) is None
    assert rule.stop(counts(32, 0)) == ("all_right", "all_drawn")
    assert rule.stop(counts(0, 32)) == ("none_right", "all_drawn")


@pytest.mark.parametrize(
    ("given", "stop"),
    [
        (counts(4, 2), ("kept", "certain")),  # from 4 to 6 of 8
        (counts(0, 5), ("too_hard", "certain")),  # at most 3 of 8: whether none will be right is not known
        (counts(7, 0), ("too_easy", "certain")),
        (counts(3, 2), None),
        (Counts(6, 4, 0, 2), ("kept", "all_drawn")),
        (Counts(6, 3, 0, 2), ("undecided", "all_drawn")),
    ],
)
def test_bounds_are_certain_as_early_as_can_be(given: Counts, stop: tuple[str, str] | None) -> None:
    assert Rule(8, 0.5, 0.75).stop(given) == stop


@pytest.mark.parametrize(("successes", "draws", "bound"), [(0, 7, 0.3), (3, 20, 0.25), (9, 12, 0.6), (5, 5, 0.9)])
def test_the_evidence_is_the_mixture_of_likelihood_ratios(successes: int, draws: int, bound: float) -> None:
    def likelihood(rate: float) -> float:
        return rate**successes * (1 - rate) ** (draws - successes)

    def prior(rate: float) -> float:
        return (rate * (1 - rate)) ** -0.5

    mixed = quad(lambda rate: prior(rate) * likelihood(rate), 0, bound)[0] / quad(prior, 0, bound)[0]
    assert evidence_below(successes, draws, bound) == pytest.approx(mixed / likelihood(bound), rel=1e-6)


@given(st.integers(0, 30), st.integers(0, 30), st.floats(0.01, 0.99), st.floats(0, 1))
def test_the_evidence_is_expected_to_grow_under_no_rate_above_the_bound(
    right: int, wrong: int, bound: float, above: float
) -> None:
    """A supermartingale: what makes looking after each block free of charge."""
    rate, n = bound + above * (1 - bound), right + wrong
    after = rate * evidence_below(right + 1, n + 1, bound) + (1 - rate) * evidence_below(right, n + 1, bound)
    assert after <= evidence_below(right, n, bound) * (1 + 1e-9)


def test_a_problem_within_the_bounds_is_seldom_stopped_however_often_one_looks() -> None:
    """Simulated at the bounds, where it is hardest, with a look after each of 200 rollouts."""
    rng, rule = random.Random(0), Rule(10_000, 0.2, 0.8, 0.9)
    outside = cache(lambda right, wrong: rule.outside(counts(right, wrong)) is not None)
    for rate in (0.2, 0.8):
        stopped = 0
        for _ in range(500):
            right = list(accumulate(rng.random() < rate for _ in range(200)))
            stopped += any(outside(some, drawn - some) for drawn, some in enumerate(right, start=1))
        assert 0 < stopped / 500 <= 0.1


def test_a_problem_far_outside_the_bounds_stops_early_on_its_side() -> None:
    rule = Rule(64, 0.2, 0.8, 0.95)
    hard = next(n for n in range(1, 65) if rule.outside(counts(0, n)))
    easy = next(n for n in range(1, 65) if rule.outside(counts(n, 0)))
    assert hard == easy <= 24
    assert (rule.stop(counts(0, hard)), rule.stop(counts(easy, 0))) == (("too_hard", "bound"), ("too_easy", "bound"))
    assert Rule(64, 0.2, 0.8, None).stop(counts(0, hard)) is None
    assert Rule(64, 0.0, 1.0, 0.95).stop(counts(0, 60)) is None  # no rate is below 0


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 10))
def test_rollouts_without_a_verdict_never_hasten_the_stop(right: int, wrong: int, undecided: int) -> None:
    rule = Rule(1000, 0.3, 0.6, 0.95)
    found = rule.outside(Counts(right + wrong, right, 0, undecided))
    if found is not None:
        assert rule.outside(counts(right + undecided, wrong)) == found == rule.outside(counts(right, wrong + undecided))
