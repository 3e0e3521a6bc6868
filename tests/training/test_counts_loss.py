"""The Beta-Binomial loss: scipy's likelihood, its limits, and a training by it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import gammaln
from scipy.stats import betabinom

from mmprm import config
from mmprm.model import folders
from mmprm.prm import marker_examples, train_prm
from mmprm.training import losses
from mmprm.training.examples import IGNORE
from mmprm.training.losses import concentration

LOGIT = st.floats(-8, 8)


def loss_of(logits: torch.Tensor, k: int, n: int) -> torch.Tensor:
    """The loss of one marker whose logits of (No, Yes, marker) are given."""
    labels, trials = torch.tensor([[IGNORE, k / n]]), torch.tensor([[1.0, float(n)]])
    outputs = SimpleNamespace(logits=logits[None, None])
    return losses.counts_loss(0, 1, 2)(outputs, labels, num_items_in_batch=torch.tensor(1), trials=trials)


@given(logits=st.tuples(LOGIT, LOGIT, LOGIT), n=st.integers(1, 32), share=st.floats(0, 1))
def test_it_is_the_likelihood_of_the_counts(logits: tuple[float, float, float], n: int, share: float) -> None:
    k = round(share * n)
    given_logits = torch.tensor(logits, dtype=torch.float64)
    p = float(given_logits[:2].softmax(-1)[1])
    kappa = float(concentration(given_logits))
    coefficient = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    expected = coefficient - betabinom.logpmf(k, n, max(p * kappa, 1e-6), max((1 - p) * kappa, 1e-6))
    assert float(loss_of(given_logits, k, n)) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_one_rollout_is_the_cross_entropy() -> None:
    logits = torch.tensor([0.3, 1.1, -0.5])
    assert float(loss_of(logits, 1, 1)) == pytest.approx(-float(logits[:2].log_softmax(-1)[1]), abs=1e-4)


def test_counts_that_agree_raise_the_concentration_and_others_lower_it() -> None:
    slopes = []
    for k in (8, 0):  # P(yes) is 1/2: eight of sixteen agree with it, none of sixteen does not
        logits = torch.tensor([1.0, 1.0, -3.0], requires_grad=True)
        (slope,) = torch.autograd.grad(loss_of(logits, k, 16), logits)
        slopes.append(float(slope[2]))
    assert slopes[0] > 0 > slopes[1]  # a higher logit of the marker means a lower concentration


def test_a_probability_that_rounds_to_one_has_a_finite_loss_and_gradient() -> None:
    logits = torch.tensor([-200.0, 200.0, 0.0], requires_grad=True)
    loss = loss_of(logits, 0, 16)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()


def test_an_answer_counts_once_and_a_probed_prefix_its_rollouts(path_row, mini_problems) -> None:
    row = path_row(mini_problems[0], good=True)
    trials = marker_examples.marker_trials(row)
    assert trials.tolist() == [8.0, *[1.0] * (len(trials) - 1)]
    assert marker_examples.marker_labels(row, "counts").tolist() == marker_examples.marker_labels(row, "soft").tolist()


@pytest.mark.heavy
@pytest.mark.slow
def test_a_prm_learns_from_counts_on_trees_as_on_paths(
    training_config: Callable[..., config.Config],
    mini_policy_folder: Path,
    prm_tables: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    settings = {"batch_size": 16, "micro_batch_size": 16, "keep_best": True, "save_every": 2, "learning_rate": 3e-4}
    chosen = training_config(variants={"counts": {"label": "counts", "epochs": 8}}, **settings)
    found = []
    for packing in ("paths", "trees"):
        packed = chosen.model_copy(update={"prm": chosen.prm.model_copy(update={"packing": packing})})
        out = tmp_path / packing / "prm"
        train_prm.train_prm(packed, "counts", mini_policy_folder, *prm_tables, tmp_path / packing / "work", out)
        found.append([row["loss"] for row in json.loads((out / "losses.json").read_text())])
        assert "distributed as Beta" in (out / "README.md").read_text()
        assert folders.trained_on_counts(out)
        held_out = json.loads((out / "manifest.json").read_text())["info"]["held_out_losses"]
        assert all(np.isfinite(row["loss"]) for row in held_out)
    assert found[1] == pytest.approx(found[0], rel=1e-3)
    assert found[1][-1] < found[1][0]
