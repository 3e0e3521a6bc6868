"""Bootstrap intervals: those of scipy, groups of problems as wholes, and ratios."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mmprm.evaluation.intervals import bootstrap, grouped, intervals


def test_intervals_equal_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    values = np.stack([rng.beta(0.5, 2, 200), (rng.random(200) < 0.1) * 1.0, rng.normal(0.05, 0.3, 200)])
    means, low, high = intervals(values, 0.95, 20_000, seed=1)
    for row, mean, lower, upper in zip(values, means, low, high, strict=True):
        expected = stats.bootstrap(
            (row,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(2)
        ).confidence_interval
        width = expected.high - expected.low
        assert mean == pytest.approx(row.mean())
        assert (lower, upper) == pytest.approx((expected.low, expected.high), abs=0.03 * width)


def test_a_paired_interval_is_narrower_than_the_difference_of_two_that_vary_together() -> None:
    hard = np.random.default_rng(0).random(300)  # how hard a problem is moves both
    gain = np.clip(hard + 0.05, 0, 1)
    _, low, high = intervals(np.stack([hard, gain, gain - hard]), 0.95, 5000, seed=0)
    assert low[2] > 0.03 and high[2] < 0.06
    assert high[0] > low[1], "unpaired, the two intervals overlap"


@pytest.mark.parametrize("right", [0, 1, 7, 16])
def test_of_few_problems_an_accuracy_has_the_exact_interval(right: int) -> None:
    values = np.arange(16) < right
    mean, low, high = intervals(values, 0.95, 1000, 0, differences=[False])
    expected = stats.binomtest(right, 16).proportion_ci(0.95, method="exact")
    assert (mean[0], low[0], high[0]) == pytest.approx((right / 16, expected.low, expected.high))


@pytest.mark.parametrize("problems", [1, 12, 400])
def test_where_nothing_varies_the_interval_is_exact_and_of_values_without_bounds_there_is_none(problems: int) -> None:
    rows = np.stack([np.ones(problems), np.zeros(problems), np.zeros(problems)])
    means, low, high = intervals(rows, 0.95, 1000, 0, differences=[False, False, True])
    assert means.tolist() == [1, 0, 0]
    assert low == pytest.approx([0.025 ** (1 / problems), 0, 0.0125 ** (1 / problems) - 1])
    assert high == pytest.approx([1, 1 - 0.025 ** (1 / problems), 1 - 0.0125 ** (1 / problems)])
    assert np.isnan(intervals(rows, 0.95, 1000, 0)[1:]).all()


@pytest.mark.parametrize("problems", [10, 16, 29])
def test_of_few_problems_the_intervals_hold_the_mean_at_least_as_often_as_they_say(problems: int) -> None:
    """500 simulated benchmarks: accuracies of 0.9, with and without ties, and differences between two PRMs."""
    rng = np.random.default_rng(5)
    right = (rng.random((500, problems)) < 0.9) * 1.0
    tied = np.where(rng.random((500, problems)) < 0.2, 0.5, rng.random((500, problems)) < 0.6)
    other = np.where(rng.random((500, problems)) < 0.3, rng.random((500, problems)) < 0.5, right)
    for values, mean, difference in ((right, 0.9, False), (tied, 0.58, False), (other - right, -0.12, True)):
        _, low, high = intervals(values, 0.95, 100, 0, differences=[difference] * 500)
        assert np.mean((low <= mean) & (high >= mean)) >= 0.95


def test_no_problems_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no problems"):
        intervals(np.empty((1, 0)), 0.95, 1000, seed=0)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(0).random((2, 50))
    first, again, other = (intervals(values, 0.95, 1500, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first, again) and not np.array_equal(first[1], other[1])


def test_without_groups_each_problem_is_its_own() -> None:
    values = np.random.default_rng(0).random((2, 30))
    own = intervals(values, 0.95, 500, seed=0, groups=[f"p{index}" for index in range(30)])
    assert np.allclose(own, intervals(values, 0.95, 500, seed=0), atol=1e-12)


def test_with_groups_the_mean_stays_over_problems() -> None:
    values, groups = np.array([[1.0, 1.0, 1.0, 0.0, 0.0] * 12]), ["a", "a", "a", "b", "c"]
    names = [f"{group}{copy}" for copy in range(12) for group in groups]
    means, low, high = intervals(values, 0.9, 2000, seed=0, groups=names)
    assert means[0] == pytest.approx(3 / 5), "not the mean of the groups' means, 1/3"
    assert low[0] < 3 / 5 < high[0]


def test_groups_are_added_up_in_the_order_of_their_first_problem() -> None:
    rows = np.array([[1.0, 1.0], [2.0, 1.0], [4.0, 1.0]])
    assert grouped(rows, ["b", "a", "b"]).tolist() == [[5.0, 2.0], [2.0, 1.0]]


def test_one_group_that_holds_all_problems_is_one_problem() -> None:
    found = intervals(np.array([[1.0, 1.0, 1.0]]), 0.95, 200, 0, ["a"] * 3, differences=[False])
    assert [float(end[0]) for end in found] == pytest.approx([1, 0.025, 1])


def _worlds(rng: np.random.Generator, shared: float, count: int) -> np.ndarray:
    """(worlds, 40 groups x 4 problems) of accuracies; `shared` is how much of a problem's luck is its group's."""
    mine, ours = rng.random((count, 40, 4)), rng.random((count, 40, 1))
    return np.where(rng.random((count, 40, 4)) < shared, ours, mine).reshape(count, 160)


def test_coverage_is_what_it_says_where_problems_stand_alone_and_where_they_share_images() -> None:
    """400 simulated benchmarks of a true mean of 1/2; the standard error of a coverage of 0.9 is 0.015."""
    groups = [f"g{index // 4}" for index in range(160)]
    covered = {}
    for shared in (0.0, 0.9):
        rows = _worlds(np.random.default_rng(7), shared, 400)
        for name, of in (("alone", None), ("grouped", groups)):
            _, low, high = intervals(rows, 0.9, 2000, 0, of)
            covered[shared, name] = np.mean((low <= 0.5) & (high >= 0.5))
    assert covered[0.0, "alone"] == pytest.approx(0.9, abs=0.05)
    assert covered[0.0, "grouped"] == pytest.approx(0.9, abs=0.06)
    assert covered[0.9, "grouped"] == pytest.approx(0.9, abs=0.06)
    assert covered[0.9, "alone"] < 0.75, "problems that share an image are not as many as they look"


def test_groups_widen_the_interval_of_what_they_share_and_not_of_what_they_do_not() -> None:
    groups = [f"g{index // 4}" for index in range(160)]
    rng = np.random.default_rng(3)
    values = np.concatenate([_worlds(rng, 0.9, 1), _worlds(rng, 0.0, 1)])
    widths = []
    for of in (None, groups):
        _, low, high = intervals(values, 0.95, 4000, 0, of)
        widths.append(high - low)
    assert widths[1][0] > 1.5 * widths[0][0]
    assert widths[1][1] < 1.25 * widths[0][1]


def test_a_ratio_that_some_resamples_lack_is_taken_over_those_that_have_it() -> None:
    totals = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0], *[[0.0, 0.0]] * 30])
    values, low, high = bootstrap(totals, lambda t: t[..., :1] / t[..., 1:], 0.9, 500, seed=0)
    assert values[0] == pytest.approx(2 / 3)
    assert 0 <= low[0] < values[0] < high[0] <= 1
    nothing, low, high = bootstrap(np.zeros((30, 2)), lambda t: t[..., :1] / t[..., 1:], 0.9, 100, seed=0)
    assert np.isnan([nothing[0], low[0], high[0]]).all()
