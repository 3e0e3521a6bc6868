"""The timing of training: its three arms read the same labels, and what it predicts follows from the trees."""

from __future__ import annotations

import json

import pytest
import torch
from perf import training

from mmprm.model.hf_env import prepare
from mmprm.training.losses import marker_loss


def test_the_arms_have_the_same_loss_and_the_same_gradient() -> None:
    prepare()
    groups = training.trees_of_shape(problems=2, paths=5, steps=3, step=4, prompt=20)
    steps = 2 * 5 * 3
    model = training.model_of(training.VOCABULARY)
    found = []
    for batches in (training.padded(groups), training.laid_out([[path] for group in groups for path in group])):
        found.append(_loss_and_gradient(model, batches, steps))
    found.append(_loss_and_gradient(model, training.laid_out(groups), steps))
    for loss, gradient in found[1:]:
        assert loss == pytest.approx(found[0][0], abs=1e-5)
        assert torch.allclose(gradient, found[0][1], atol=1e-5)


def _loss_and_gradient(model: torch.nn.Module, batches: list[training.Batch], steps: int) -> tuple[float, torch.Tensor]:
    model.zero_grad()
    total = 0.0
    for batch in batches:
        inputs = dict(batch)
        loss = marker_loss(0, 1)(model(**{k: v for k, v in inputs.items() if k != "labels"}), inputs["labels"], steps)
        loss.backward()
        total += float(loss.detach())
    gradient = model.model.layers[0].mlp.up_proj.weight.grad  # type: ignore[union-attr, index]
    return total, gradient.clone()  # type: ignore[operator, union-attr]


@pytest.mark.heavy
def test_the_command_ends_with_one_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    training.main(["--paths", "3", "--step-tokens", "4", "--prompt", "30", "--repeats", "1"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["labelled_steps"] == 24 and result["sharing_factor"] > 1.3
    assert result["flop_ratio"] > 1.3 and result["vs_per_path"] > 0


def test_a_path_alone_shares_nothing() -> None:
    groups = training.trees_of_shape(problems=1, paths=1, steps=3, step=4, prompt=20)
    assert training.operations(groups) == training.operations([[path] for path in groups[0]])
