"""What is read at a marker, and how sure it is: scipy's Beta distribution, its limits, and the loss's concentration."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import beta

from mmprm.prm.step_scores import StepScores, dispersion, share_above
from mmprm.training.losses import concentration

P = st.floats(0.001, 0.999)
KAPPA = st.floats(0.01, 1000)
THRESHOLD = st.floats(0.01, 0.99)


@given(p=P, kappa=KAPPA, threshold=THRESHOLD)
def test_the_share_is_that_of_the_beta_distribution(p: float, kappa: float, threshold: float) -> None:
    expected = beta.sf(threshold, p * kappa, (1 - p) * kappa)
    assert share_above(threshold, p, kappa) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(p=P, kappa=KAPPA, threshold=THRESHOLD, credibility=st.floats(0.05, 0.95))
def test_it_is_enough_just_where_the_lower_bound_is(
    p: float, kappa: float, threshold: float, credibility: float
) -> None:
    share = share_above(threshold, p, kappa)
    assume(abs(share - credibility) > 1e-6)
    bound = beta.ppf(1 - credibility, p * kappa, (1 - p) * kappa)
    assert (share > credibility) == (bound > threshold)


@given(p=P, more=P, kappa=KAPPA, threshold=THRESHOLD)
def test_a_higher_probability_leaves_no_less_above(p: float, more: float, kappa: float, threshold: float) -> None:
    low, high = sorted((p, more))
    assert share_above(threshold, low, kappa) <= share_above(threshold, high, kappa) + 1e-12


def test_without_rollouts_the_share_is_the_probability_and_with_many_it_is_all_or_nothing() -> None:
    assert share_above(0.9, 0.7, 1e-3) == pytest.approx(0.7, abs=2e-3)
    assert share_above(0.9, 0.93, 1e5) == pytest.approx(1, abs=1e-9)
    assert share_above(0.9, 0.87, 1e5) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("p", "share"), [(0.0, 0.0), (1.0, 1.0)])
def test_a_probability_that_has_rounded_to_0_or_1_is_a_number(p: float, share: float) -> None:
    assert share_above(0.9, p, 5.0) == pytest.approx(share, abs=1e-5)


@given(p=P, kappa=KAPPA)
def test_the_dispersion_is_the_variance_over_that_of_a_single_rollout(p: float, kappa: float) -> None:
    assert p * (1 - p) * dispersion(kappa) == pytest.approx(beta.var(p * kappa, (1 - p) * kappa), rel=1e-9)


def test_the_dispersion_moves_no_faster_than_a_probability() -> None:
    """So that one tolerance fits both: a probability's slope over its logit is at most 1/4."""
    logits = torch.zeros(20001, 3, dtype=torch.float64)
    logits[:, 2] = torch.linspace(-50, 50, 20001)
    found = np.array([dispersion(kappa) for kappa in concentration(logits).tolist()])
    assert np.abs(np.gradient(found, 100 / 20000)).max() < 0.25


def test_logits_of_two_tokens_give_no_concentration_and_of_three_the_same_probabilities() -> None:
    logits = torch.tensor([[0.3, 1.1, -0.5], [2.0, -1.0, 4.0]])
    two, three = StepScores.of_logits(logits[:, :2]), StepScores.of_logits(logits)
    assert two.concentrations is None
    assert three.probabilities == two.probabilities == logits[:, :2].double().softmax(-1)[:, 1].tolist()
    over = np.log(np.exp([0.3, 2.0]) + np.exp([1.1, -1.0])) - [-0.5, 4.0]
    assert three.concentrations == pytest.approx(np.log1p(np.exp(over)) + 1e-3, rel=1e-6)
    assert three.at([1]) == StepScores(three.probabilities[1:], three.concentrations[1:])
    shifted = StepScores.of_logits(logits.double() + 7)
    assert shifted.concentrations == pytest.approx(three.concentrations, rel=1e-9)


def test_columns_of_a_table_are_aligned_and_no_more_than_the_label_has() -> None:
    found = StepScores([0.5, 0.7], [3.0, 4.0])
    assert found.columns(True) == {"probabilities": [0.5, 0.7], "concentrations": [3.0, 4.0]}
    assert found.columns(False) == {"probabilities": [0.5, 0.7]}
    assert StepScores().columns(True) == {"probabilities": [], "concentrations": []}
