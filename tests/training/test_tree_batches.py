"""Training on trees: the loss and the gradients are those of one sequence a path."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_families
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmprm.config import Config, Training
from mmprm.data.problem import Problem
from mmprm.model import folders
from mmprm.model.step_text import NO, YES, Renderer, control_ids
from mmprm.model.tokens import image_inputs, tokenise
from mmprm.prefix_trees import attention
from mmprm.prm import train_prm
from mmprm.training.batches import PaddedCollator, TreeCollator
from mmprm.training.examples import IGNORE, Example
from mmprm.training.losses import marker_loss
from mmprm.training.update_plan import update_plan

# Labels of the markers of a path: known or not, soft or hard.
LABELS = st.lists(st.sampled_from([IGNORE, 0.0, 0.25, 1.0]), min_size=4, max_size=4)
PATHS = st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(1, 3), min_size=1, max_size=3), LABELS), min_size=1)


def opened(folder: Path) -> tuple[Any, Any]:
    """Processor and model of a folder, ready for trees."""
    model = folders.load_model(folder)
    attention.install(model)
    return folders.load_processor(folder), model


@pytest.fixture(scope="module")
def parts(any_policy_folder: Path) -> tuple[Any, Any]:
    """Those of each family in turn."""
    return opened(any_policy_folder)


TILES = ("llava", "llava_onevision", "idefics3")  # whose images are each one square, or several tiles


@pytest.fixture(scope="module", params=TILES)
def parts_of_tiles(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Those of families that count tokens as their positions, with other kinds of images than InternVL's."""
    return opened(tiny_families.build(tmp_path_factory.mktemp("models") / request.param, request.param))


def examples_of(problems: list[Problem], paths: list[Any], processor: Any) -> list[Example]:
    """Paths of small numbers as steps, so that many share some; their markers labelled as drawn."""
    renderer = Renderer(processor)
    marker = control_ids(processor.tokenizer)["<prm>"]
    made = []
    for which, steps, labels in paths:
        text = renderer.marked(problems[which], [f"{step} + 1 = {step + 1}" for step in steps], "5")
        (tokens,) = tokenise(processor, [text], [problems[which].images])
        values = np.full(len(tokens["input_ids"]), IGNORE, dtype=np.float32)
        places = np.flatnonzero(tokens["input_ids"] == marker)
        values[places] = labels[: len(places)]
        made.append(Example(problems[which].problem_id, tokens, values, problems[which].images))
    return made


def loss_and_gradients(model: Any, processor: Any, batch: dict[str, Any]) -> tuple[float, list[torch.Tensor]]:
    ids = control_ids(processor.tokenizer)
    labels = batch.pop("labels")
    batch.pop("examples")
    model.zero_grad()
    loss = marker_loss(ids[NO], ids[YES])(model(**batch), labels)
    loss.backward()
    return float(loss.detach()), [p.grad.clone() for p in model.parameters() if p.grad is not None]


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(paths=PATHS.filter(lambda paths: any(value >= 0 for *_, labels in paths for value in labels[:2])))
def test_loss_and_gradients_are_those_of_one_sequence_a_path(
    sized_problems: list[Problem], parts: tuple[Any, Any], paths: list[Any]
) -> None:
    """For several problems a sequence, with one image, two, or none, of differing sizes."""
    compare(sized_problems, *parts, paths)


def test_they_are_so_with_an_image_as_one_square_and_as_tiles(
    sized_problems: list[Problem], parts_of_tiles: tuple[Any, Any]
) -> None:
    known = [0.25, 1.0, 0.0, 1.0]
    paths = [(0, [1, 2], known), (0, [1, 3], known), (1, [2], known), (2, [1, 1], known), (2, [1], known)]
    compare(sized_problems, *parts_of_tiles, [*paths, (3, [3, 1], known)])


def compare(problems: list[Problem], processor: Any, model: Any, paths: list[Any]) -> None:
    """Check loss and gradients of the paths, laid out in both ways."""
    rows = list(enumerate(examples_of(problems, paths, processor)))
    apart = loss_and_gradients(model, processor, PaddedCollator(processor, shift=0)([rows]))
    trees = loss_and_gradients(model, processor, TreeCollator(processor, model)([rows]))
    assert trees[0] == pytest.approx(apart[0], abs=1e-5)
    assert len(trees[1]) == len(apart[1])
    largest = max(float(gradient.abs().max()) for gradient in apart[1])
    for one, other in zip(apart[1], trees[1], strict=True):
        assert torch.allclose(one, other, atol=1e-4 * max(largest, 1e-3))


def test_a_shared_token_and_its_image_stand_once(mini_problems: list[Problem], parts: tuple[Any, Any]) -> None:
    processor, model = parts
    labels = [1.0, 1.0, 1.0, 1.0]
    examples = examples_of(mini_problems, [(0, [1, 2], labels), (0, [1, 3], labels), (1, [1], labels)], processor)
    apart = sum(example.length for example in examples)
    batch = TreeCollator(processor, model)([list(enumerate(examples))])
    assert batch["input_ids"].shape[1] < 0.75 * apart
    images = image_inputs(processor, [problem.images for problem in mini_problems[:2]], ())
    assert torch.equal(batch["pixel_values"], images["pixel_values"])
    assert batch["labels"].shape == (1, 1 + 8)
    assert len(set(batch["logits_to_keep"].tolist())) == 7  # the first step of two paths
    for_cuda = TreeCollator(processor, model, "cuda")([list(enumerate(examples))])
    assert list(for_cuda.pop("tree")) == ["last"] and "calls" in batch.pop("tree")
    assert all(torch.equal(value, batch[name]) for name, value in for_cuda.items())


def test_whole_problems_are_shuffled_and_every_path_is_read_once_an_epoch() -> None:
    ids = list("aaabbbbccdd")
    nothing = np.zeros(9, dtype=np.float32)
    examples = [Example(name, {"input_ids": nothing}, nothing, ()) for name in ids]
    training = Training(learning_rate=1, batch_size=4, micro_batch_size=4, epochs=2)
    plan, _ = update_plan(examples, training, 1, seed=0, group_problems=True)
    read = [index for part in plan for index in part]
    assert sorted(read[: len(ids)]) == sorted(read[len(ids) :]) == list(range(len(ids)))
    for epoch in (read[: len(ids)], read[len(ids) :]):
        names = [ids[index] for index in epoch]
        assert sum(a != b for a, b in itertools.pairwise(names)) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "any_policy_folder",
    ["internvl", "qwen3_vl", *(pytest.param(name, marks=pytest.mark.heavy) for name in ("qwen2_vl", "qwen2_5_vl"))],
    indirect=True,
)
def test_a_prm_learns_from_trees_what_it_learns_from_paths(
    training_config: Callable[..., Config], any_policy_folder: Path, prm_tables: tuple[Path, Path], tmp_path: Path
) -> None:
    """A batch that holds all paths is the same however they are packed, so the losses are."""
    config = training_config(variants={"hard": {"label": "hard", "epochs": 4}}, batch_size=16, micro_batch_size=16)
    losses = []
    for packing in ("paths", "trees"):
        settings = config.model_copy(update={"prm": config.prm.model_copy(update={"packing": packing})})
        train_prm.train_prm(
            settings, "hard", any_policy_folder, *prm_tables, tmp_path / packing, tmp_path / f"{packing}-prm"
        )
        history = json.loads((tmp_path / f"{packing}-prm/losses.json").read_text())
        losses.append([row["loss"] for row in history])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert losses[1][-1] < losses[1][0]
