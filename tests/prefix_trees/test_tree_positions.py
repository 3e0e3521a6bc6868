"""Positions of trees: those that the model counts over each path alone; and what cannot be a tree."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_qwen
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmprm.config import Config
from mmprm.config.training import Lora
from mmprm.data.problem import Problem
from mmprm.engine.transformers_engine import TransformersEngine
from mmprm.model import folders
from mmprm.model.step_text import Renderer
from mmprm.model.tokens import image_inputs, rope_index, tokenise
from mmprm.prefix_trees import attention, packing
from mmprm.prefix_trees.packing import TreePositions
from mmprm.prm import train_prm
from mmprm.prm.scorers import TransformersScorer, TreeScorer
from mmprm.runtime.errors import UserError
from mmprm.training.trainer import add_adapters

STEPS = st.lists(st.sampled_from(["a", "b + 1", "c"]), min_size=1, max_size=3)
# For some of the four problems, each once, their solutions.
FORESTS = st.lists(
    st.tuples(st.integers(0, 3), st.lists(STEPS, min_size=1, max_size=4)),
    min_size=1,
    max_size=4,
    unique_by=lambda tree: tree[0],
)


@pytest.fixture(scope="module", params=tiny_qwen.FAMILIES)
def parts(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """Processor and model of each family in turn."""
    processor = tiny_qwen.processor(request.param)
    folders.add_control_tokens(processor)
    return processor, tiny_qwen.model(request.param, processor.tokenizer)


def paths_of(problem: Problem, solutions: Sequence[Sequence[str]], processor: Any) -> list[packing.Tokens]:
    renderer = Renderer(processor)
    texts = [renderer.marked(problem, steps, "5") for steps in solutions]
    return list(tokenise(processor, texts, [problem.images] * len(texts)))


@settings(max_examples=12)
@given(forest=FORESTS)
def test_each_path_has_the_positions_that_the_model_counts_over_it_alone(
    sized_problems: list[Problem], parts: tuple[Any, Any], forest: list[tuple[int, list[list[str]]]]
) -> None:
    """Seen where the model computes its angles, when it is given the path and no positions."""
    processor, model = parts
    problems = [sized_problems[which] for which, _ in forest]
    paths = [paths_of(problem, solutions, processor) for problem, (_, solutions) in zip(problems, forest, strict=True)]
    trees = [packing.pack(group) for group in paths]
    counts = [len(problem.images) for problem in problems]
    of_all = image_inputs(processor, [problem.images for problem in problems], paths[0][0])
    found = TreePositions(model)(trees, counts, of_all)
    packed = packing.join(trees)
    assert found.shape == (3, 1, packed.length)
    seen: list[torch.Tensor] = []
    hook = model.model.language_model.rotary_emb.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    with torch.no_grad():
        for problem, group in zip(problems, paths, strict=True):
            for path in group:
                inputs = {name: torch.from_numpy(values)[None] for name, values in path.items()}
                model(**inputs, **image_inputs(processor, [problem.images], path))
    hook.remove()
    for place, expected in zip(packed.path_indices, seen, strict=True):
        assert torch.equal(found[..., place], expected.expand(3, 1, -1))


def test_a_forward_pass_over_trees_neither_reads_nor_writes_what_the_model_remembers(
    sized_problems: list[Problem], parts: tuple[Any, Any]
) -> None:
    processor, model = parts
    problem = sized_problems[0]
    tree = packing.pack(paths_of(problem, [["a"], ["b + 1"]], processor))
    images = image_inputs(processor, [problem.images], tree.tokens)
    attention.install(model)
    found = []
    for remembered in (None, torch.tensor([[-1000]])):
        model.model.rope_deltas = remembered
        inputs = attention.model_inputs(tree, TreePositions(model)([tree], [1], images))
        with torch.no_grad():
            found.append(model(**inputs, **images).logits)
        assert model.model.rope_deltas is remembered
    assert torch.equal(*found)


def test_paths_that_count_a_shared_token_in_different_ways_are_no_tree(
    sized_problems: list[Problem], parts: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    processor, model = parts
    tree = packing.pack(paths_of(sized_problems[3], [["a"], ["b + 1", "c"]], processor))

    def from_the_end(input_ids: torch.Tensor, **_: Any) -> tuple[torch.Tensor, None]:
        return torch.arange(input_ids.shape[1]).flip(0).expand(3, 1, -1), None

    monkeypatch.setattr(model.model, "get_rope_index", from_the_end)
    with pytest.raises(UserError, match="share differently"):
        TreePositions(model)([tree], [0], {})


def test_images_without_their_grids_and_tokens_without_their_types_are_refused(
    sized_problems: list[Problem], parts: tuple[Any, Any]
) -> None:
    processor, model = parts
    paths = paths_of(sized_problems[2], [["a"]], processor)
    count = TreePositions(model)
    with pytest.raises(UserError, match="2 images have 0 image_grid_thw"):
        count([packing.pack(paths)], [2], {})
    images = image_inputs(processor, [sized_problems[2].images], paths[0])
    with pytest.raises(UserError, match="return_mm_token_type_ids"):
        count([packing.pack([{"input_ids": path["input_ids"]} for path in paths])], [2], images)


def test_a_model_with_a_sliding_window_is_not_packed(parts: tuple[Any, Any]) -> None:
    from transformers import MixtralConfig, MixtralForCausalLM

    _, model = parts
    assert packing.supports(model)
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    small |= {"num_key_value_heads": 1, "vocab_size": 8, "num_local_experts": 2}
    for window in (None, 16):  # no list of its layers' kinds: all are alike
        assert packing.supports(MixtralForCausalLM(MixtralConfig(**small, sliding_window=window))) == (window is None)


@pytest.fixture(scope="module")
def windowed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2.5-VL whose second layer sees 16 tokens."""
    window = {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}
    return tiny_qwen.build(tmp_path_factory.mktemp("models") / "windowed", "qwen2_5_vl", **window)


def test_a_model_with_a_sliding_window_is_scored_path_by_path_and_nothing_is_planned_for_it(
    sized_problems: list[Problem], windowed_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "plan", lambda *_: pytest.fail("a plan was made"))
    items = [(problem, steps, "5") for problem in sized_problems for steps in (("a",), ("a", "b + 1"))]
    alone, trees = TransformersScorer(windowed_folder), TreeScorer(windowed_folder)
    assert not packing.supports(trees._model)
    for one, other in zip(alone.score(items), trees.score(items), strict=True):
        assert other.probabilities == pytest.approx(one.probabilities, abs=1e-6)
    assert trees.prompt_tokens == alone.prompt_tokens


def test_a_sliding_window_is_refused_where_trees_are_trained(
    training_config: Callable[..., Config], windowed_folder: Path, prm_tables: tuple[Path, Path], tmp_path: Path
) -> None:
    config = training_config(max_steps=1)
    config = config.model_copy(update={"prm": config.prm.model_copy(update={"packing": "trees"})})
    with pytest.raises(UserError, match="trees is not supported for Qwen2_5_VL"):
        train_prm.train_prm(config, "soft", windowed_folder, *prm_tables, tmp_path / "work", tmp_path / "prm")


def test_a_family_whose_count_is_not_known_is_neither_packed_nor_sampled(
    parts: tuple[Any, Any], windowed_folder: Path, training_config: Callable[..., Config], monkeypatch
) -> None:
    monkeypatch.setattr("mmprm.model.tokens.ROPE_FAMILIES", ())
    assert not packing.supports(parts[1])
    with pytest.raises(UserError, match="unknown position scheme"):
        TransformersEngine(training_config(), windowed_folder)


def test_adapters_do_not_hide_how_a_model_counts(parts: tuple[Any, Any]) -> None:
    processor, model = parts
    model = copy.deepcopy(model)  # adapters are put into it
    index = rope_index(model)
    assert index is not None
    assert rope_index(add_adapters(model, processor.tokenizer, Lora(rank=1))) == index


def test_a_model_of_one_dimension_counts_depth(mini_policy_folder: Path) -> None:
    tree = packing.pack([{"input_ids": np.asarray(ids)} for ids in ([1, 2, 3], [1, 4])])
    found = TreePositions(folders.load_model(mini_policy_folder))([tree, tree], [0, 0], {})
    assert found.tolist() == [[0, 1, 2, 1] * 2]
