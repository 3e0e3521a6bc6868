"""Intervals over problems and trainings: by hand, where trainings are alike, and how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mmprm.evaluation.intervals import intervals
from mmprm.evaluation.trainings import apart, over_trainings, widened

# Two trainings of three problems.
HAND = np.array([[1.0, 3.0, 8.0], [5.0, 5.0, 8.0]])


def test_the_mean_squares_of_a_table_that_is_small_enough_to_do_by_hand() -> None:
    """Means of rows 4, 6, of columns 3, 4, 8, of all 5: 3 (1 + 1) / 1, 2 (4 + 1 + 9) / 2, what is left (-1, 0, 1)."""
    of_trainings, of_problems, of_rest = 6.0, 14.0, (1 + 0 + 1 + 1 + 0 + 1) / 2
    rows = HAND - HAND.mean(1, keepdims=True) - HAND.mean(0) + HAND.mean()
    assert (rows**2).sum() / 2 == of_rest, "the example is right"
    problems, both = of_problems / 6, (of_problems + of_trainings - of_rest) / 6
    freedom = ((of_trainings + of_problems - of_rest) / of_trainings) ** 2
    more = stats.t.ppf(0.975, freedom) ** 2 * both - stats.norm.ppf(0.975) ** 2 * problems
    low, high = widened(np.array([5.0]), np.array([3.0]), np.array([6.0]), HAND[:, :, None], 0.95)
    assert low[0] == pytest.approx(5 - np.sqrt(2**2 + more))
    assert high[0] == pytest.approx(5 + np.sqrt(1**2 + more)), "the longer half stays the longer one"


def test_one_training_has_the_interval_over_problems_bit_for_bit() -> None:
    values = np.random.default_rng(0).random((1, 3, 60))
    groups = [f"g{index // 2}" for index in range(60)]
    differences = [False, True, False]
    found = over_trainings(values, 0.95, 500, 1, groups, differences)
    assert np.array_equal(found, intervals(values[0], 0.95, 500, 1, groups, differences))


def test_trainings_that_are_alike_widen_nothing_and_others_do() -> None:
    rng = np.random.default_rng(1)
    alike = np.repeat(rng.random((1, 1, 80)) < 0.6, 5, axis=0) * 1.0
    shifted = np.clip(alike + np.linspace(-0.1, 0.1, 5)[:, None, None], 0, 1)
    for values, factor in ((alike, 1.0), (shifted, 1.05)):
        mean, low, high = over_trainings(values, 0.95, 1000, 0)
        _, low_of_problems, high_of_problems = intervals(values.mean(0), 0.95, 1000, 0)
        assert mean[0] == pytest.approx(values.mean())
        length = (high - low)[0] / (high_of_problems - low_of_problems)[0]
        assert length == pytest.approx(1, abs=1e-9) if factor == 1 else length > factor


def test_no_interval_of_an_accuracy_or_a_difference_ends_beyond_what_it_can_be() -> None:
    values = np.zeros((3, 2, 40))
    values[0] = 1.0  # one training is right everywhere, two nowhere
    _, low, high = over_trainings(values, 0.95, 500, 0, differences=[False, True])
    assert (low[0], high[0]) == (0, 1) and (low[1], high[1]) == (-1, 1)


@pytest.mark.parametrize("problems", [1, 12])
def test_of_few_problems_it_is_at_least_the_exact_interval(problems: int) -> None:
    values = (np.random.default_rng(2).random((4, 1, problems)) < 0.7) * 1.0
    _, low, high = over_trainings(values, 0.95, 500, 0, differences=[False])
    _, exact_low, exact_high = intervals(values.mean(0), 0.95, 500, 0, differences=[False])
    assert 0 <= low[0] <= exact_low[0] <= exact_high[0] <= high[0] <= 1


def test_problems_that_share_an_image_count_as_one_and_the_mean_stays_over_problems() -> None:
    rng = np.random.default_rng(3)
    alone = (rng.random((5, 1, 60)) < np.linspace(0.5, 0.7, 5)[:, None, None]) * 1.0
    copies = np.repeat(alone, 4, axis=2)
    groups = [f"g{index // 4}" for index in range(240)]
    grouped = over_trainings(copies, 0.95, 2000, 0, groups)
    assert grouped[0] == pytest.approx(alone.mean())
    assert np.ravel(grouped) == pytest.approx(np.ravel(over_trainings(alone, 0.95, 2000, 0)), abs=1e-9)


def test_how_far_trainings_are_apart() -> None:
    assert apart(np.array([[0.2, 0.5]])) == [{}, {}], "nothing is said of one"
    found, _ = apart(np.array([[0.2, 0.5], [0.4, 0.5], [0.3, 0.5]]))
    assert found == {"trainings": 3, "lowest": 0.2, "highest": 0.4, "sd": pytest.approx(0.1)}


def _accuracies(rng: np.random.Generator, worlds: int, trainings: int, problems: int, spread: float) -> np.ndarray:
    """(worlds, trainings, problems) of right and wrong picks; true mean 0.6 over problems and trainings.

    A problem is easy or hard (0.4 to 0.8), a training lifts or lowers all, with the standard deviation `spread`.
    """
    ease = rng.uniform(0.4, 0.8, (worlds, 1, problems))
    lift = np.clip(rng.normal(0, spread, (worlds, trainings, 1)), -0.2, 0.2) if spread else 0.0
    return (rng.random((worlds, trainings, problems)) < ease + lift) * 1.0


@pytest.mark.parametrize(
    ("trainings", "problems", "spread"), [(2, 100, 0.03), (5, 100, 0.0), (5, 100, 0.03), (5, 600, 0.03), (5, 600, 0.06)]
)
def test_the_intervals_hold_the_mean_over_problems_and_trainings_as_often_as_they_say(
    trainings: int, problems: int, spread: float
) -> None:
    """200 simulated studies; the standard error of a coverage of 0.95 is 0.015."""
    rng = np.random.default_rng(11)
    values = _accuracies(rng, 200, trainings, problems, spread).transpose(1, 0, 2)
    _, low, high = over_trainings(values, 0.95, 300, 0, differences=[False] * 200)
    assert 0.92 <= np.mean((low <= 0.6) & (high >= 0.6)) <= 0.995
    if spread == 0.06:
        _, low, high = intervals(values.mean(0), 0.95, 300, 0)
        assert np.mean((low <= 0.6) & (high >= 0.6)) < 0.7, "an interval over problems does not hold the trainings"


@pytest.mark.heavy
@pytest.mark.parametrize(("trainings", "spread"), [(2, 1.0), (3, 0.5), (5, 0.1), (5, 0.3), (5, 1.0), (10, 0.3)])
def test_coverage_with_known_variance_components(trainings: int, spread: float) -> None:
    """2,000 tables of normal effects: problems 1, interaction 1, trainings `spread` of the problems' in the mean."""
    rng, problems = np.random.default_rng(12), 40
    shape = (trainings, 2000, problems)
    of_trainings = spread * np.sqrt(trainings / problems) * rng.normal(size=(*shape[:2], 1))
    values = rng.normal(size=(1, *shape[1:])) + rng.normal(size=shape) + of_trainings
    _, low, high = over_trainings(values, 0.95, 400, 0)
    assert 0.925 <= np.mean((low <= 0) & (high >= 0)) <= 0.985


@pytest.mark.heavy
def test_resampling_five_trainings_would_hold_their_mean_too_seldom() -> None:
    """Why the pigeonhole bootstrap is not used: where trainings alone vary it holds the mean in 84 %, not 95 %."""
    rng = np.random.default_rng(13)
    means = rng.normal(size=(4000, 5))
    drawn = means[:, rng.integers(0, 5, (400, 5))].mean(-1)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=1)
    assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(0.84, abs=0.03)
