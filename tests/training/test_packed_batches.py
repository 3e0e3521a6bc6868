"""Packed fine-tuning: the loss, the gradients and the trained weights are those of padded batches."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from mmprm.config import Config, Training
from mmprm.data.problem import Problem, write_problems
from mmprm.model import folders
from mmprm.model.step_text import Renderer
from mmprm.prefix_trees import attention
from mmprm.runtime.errors import UserError
from mmprm.training import policy_examples, train_policy
from mmprm.training.batches import PackedCollator, PaddedCollator
from mmprm.training.examples import IGNORE, Example
from mmprm.training.losses import token_loss
from mmprm.training.update_plan import update_plan


@pytest.fixture(scope="module")
def parts(any_policy_folder: Path) -> tuple[Any, Any]:
    model = folders.load_model(any_policy_folder)
    attention.install(model)
    return folders.load_processor(any_policy_folder), model


@pytest.fixture(scope="module")
def examples(parts: tuple[Any, Any], sized_problems: list[Problem], mini_problems: list[Problem]) -> list[Example]:
    """Solutions with an image, with two and without one."""
    problems = [*sized_problems, *mini_problems[len(sized_problems) :]]
    made, refused = policy_examples.supervised_examples(problems, parts[0], Renderer(parts[0]), 512)
    assert not refused
    return made


def loss_and_gradients(model: Any, batch: dict[str, Any], labels_of_update: int) -> tuple[float, list[torch.Tensor]]:
    labels = batch.pop("labels")
    batch.pop("examples")
    model.zero_grad()
    loss = token_loss(model(**batch), labels, num_items_in_batch=labels_of_update)
    loss.backward()
    return float(loss.detach()), [p.grad.clone() for p in model.parameters() if p.grad is not None]


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(chosen=st.lists(st.integers(0, 11), min_size=1, max_size=5))
def test_loss_and_gradients_are_those_of_padded_sequences(
    parts: tuple[Any, Any], examples: list[Example], chosen: list[int]
) -> None:
    """Also where a solution stands there twice: the second does not see the first."""
    processor, model = parts
    rows = list(enumerate(examples[index] for index in chosen))
    padded = loss_and_gradients(model, PaddedCollator(processor, shift=1)([rows]), 100)
    packed = loss_and_gradients(model, PackedCollator(processor, model)([rows]), 100)
    assert packed[0] == pytest.approx(padded[0], rel=1e-5)
    assert len(packed[1]) == len(padded[1])
    largest = max(float(gradient.abs().max()) for gradient in padded[1])
    for one, other in zip(padded[1], packed[1], strict=True):
        assert torch.allclose(one, other, atol=1e-5 * max(largest, 1e-3))


def test_a_packed_batch_holds_no_padding_and_each_label_behind_its_logits(
    parts: tuple[Any, Any], examples: list[Example]
) -> None:
    processor, model = parts
    batch = PackedCollator(processor, model)([[(7, examples[7]), (3, examples[3])]])
    assert batch["input_ids"].shape == (1, examples[7].length + examples[3].length)
    assert batch["examples"].tolist() == [7, 3]
    labels = batch["labels"][0, 1:]
    assert labels.tolist() == batch["input_ids"][0, batch["logits_to_keep"] + 1].tolist()
    assert labels.tolist() == [token for row in (7, 3) for token in examples[row].labels if token != IGNORE]
    assert (batch["labels"][..., 1:] != IGNORE).sum() == len(labels)  # what Trainer counts


@example(lengths=[1, 1, 1, 1], budget=16, batch_size=3, processes=3)  # the last update is over two examples
@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=60),
    budget=st.integers(16, 120),
    batch_size=st.integers(3, 20),
    processes=st.integers(1, 3),
)
def test_packs_stay_in_their_budget_and_updates_are_those_of_padded_batches(
    lengths: list[int], budget: int, batch_size: int, processes: int
) -> None:
    values = [np.full(length, 1.0, dtype=np.float32) for length in lengths]
    made = [Example("a problem", {"input_ids": value}, value, ()) for value in values]
    training = Training(learning_rate=1, batch_size=batch_size, micro_batch_size=1, epochs=2)

    def updates(packed_tokens: int | None) -> list[list[list[int]]]:
        plan, each = update_plan(made, training, processes, 0, packed_tokens=packed_tokens)
        assert each % processes == 0
        return [plan[first : first + each] for first in range(0, len(plan), each)]

    packed, padded = updates(budget), updates(None)
    assert [sorted(chain(*update)) for update in packed] == [sorted(chain(*update)) for update in padded]
    for parts in packed:
        # ~index is an example that keeps company, of the same length.
        update = [[max(index, ~index) for index in part] for part in parts]
        sizes = [sum(lengths[index] for index in part) for part in update]
        assert all(update)
        if processes == 1:  # else each process has as many micro-batches, and the last of few examples more in each
            assert max(sizes) <= max(budget, *lengths)
        assert max(sizes) - min(sizes) <= max(lengths[index] for part in update for index in part)


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [pytest.param({}, marks=pytest.mark.heavy), {"gradient_checkpointing": True, "lora": {"rank": 4}}]
)
def test_a_packed_training_learns_what_a_padded_one_learns(
    training_config: Callable[..., Config], mini_problems: list[Problem], tmp_path: Path, more: dict[str, Any]
) -> None:
    config = training_config(epochs=2, **more)
    write_problems(tmp_path / "sft.parquet", mini_problems)
    history, weights = [], []
    for packed_tokens in (None, 400):
        policy = config.policy.model_copy(update={"packed_tokens": packed_tokens})
        out = tmp_path / f"{packed_tokens}"
        chosen = config.model_copy(update={"policy": policy})
        train_policy.train_policy(chosen, [tmp_path / "sft.parquet"], tmp_path / f"{packed_tokens}-work", out)
        history.append([row["loss"] for row in json.loads((out / "losses.json").read_text())])
        weights.append(load_file(out / "model.safetensors"))
    assert history[1] == pytest.approx(history[0], rel=1e-4)
    assert history[1][-1] < history[1][0]
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_model_with_a_sliding_window_is_refused(
    training_config: Callable[..., Config], mini_model_folder: Path, mini_problems: list[Problem], tmp_path: Path
) -> None:
    base = tmp_path / "base"
    processor, model = folders.load_processor(mini_model_folder), folders.load_model(mini_model_folder)
    model.config.text_config.layer_types = ["sliding_attention"] * model.config.text_config.num_hidden_layers
    model.save_pretrained(base)
    processor.save_pretrained(base)
    write_problems(tmp_path / "sft.parquet", mini_problems)
    config = training_config()
    policy = config.policy.model_copy(update={"base": base, "packed_tokens": 512})
    with pytest.raises(UserError, match=r"policy\.packed_tokens is not supported for InternVL.*set it to null"):
        train_policy.train_policy(
            config.model_copy(update={"policy": policy}),
            [tmp_path / "sft.parquet"],
            tmp_path / "work",
            tmp_path / "out",
        )
