"""A model of Qwen-VL's families through the stages: from a base without tags to a PRM that was trained on trees."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_qwen
import torch
from safetensors.torch import load_file

from mmprm.config import Config
from mmprm.data.problem import Problem, write_problems
from mmprm.model import folders
from mmprm.model.step_text import parse
from mmprm.prm import train_prm
from mmprm.prm.scorers import TransformersScorer, TreeScorer
from mmprm.training import train_policy

pytestmark = pytest.mark.slow


def _losses(folder: Path) -> list[float]:
    return [row["loss"] for row in json.loads((folder / "losses.json").read_text())]


def test_a_policy_and_a_prm_with_adapters_are_trained_from_a_base_model(
    training_config: Callable[..., Config],
    mini_problems: list[Problem],
    prm_tables: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    base = tiny_qwen.build(tmp_path / "base", "qwen2_5_vl", tags=False)
    config = training_config(variants={"hard": {"label": "hard", "epochs": 6}}, epochs=4)
    chosen = {"policy": config.policy.model_copy(update={"base": base})}
    chosen["prm"] = config.prm.model_copy(update={"packing": "trees"})
    config = config.model_copy(update=chosen)
    write_problems(tmp_path / "sft.parquet", mini_problems)
    train_policy.train_policy(config, [tmp_path / "sft.parquet"], tmp_path / "sft", tmp_path / "policy")
    assert _losses(tmp_path / "policy")[-1] < _losses(tmp_path / "policy")[0] - 0.5
    before, after = (load_file(folder / "model.safetensors") for folder in (base, tmp_path / "policy"))
    eyes = {name for name in before if "visual.blocks" in name}
    assert eyes and all(torch.equal(before[name], after[name]) for name in eyes)

    adapted = training_config(lora={"rank": 4, "alpha": 8}, learning_rate=1e-2).prm.training
    config = config.model_copy(update={"prm": config.prm.model_copy(update={"training": adapted})})
    train_prm.train_prm(config, "hard", tmp_path / "policy", *prm_tables, tmp_path / "work", tmp_path / "prm")
    losses = _losses(tmp_path / "prm")
    assert losses[-1] < 0.8 * losses[0]
    folders.check_manifest(tmp_path / "prm")
    items = [(problem, parse(problem.solution or "").steps, answer) for problem in mini_problems for answer in "57"]
    alone, trees = TransformersScorer(tmp_path / "prm"), TreeScorer(tmp_path / "prm")
    for one, packed in zip(alone.score(items), trees.score(items), strict=True):
        assert packed.probabilities == pytest.approx(one.probabilities, abs=1e-5)
    assert trees.prompt_tokens < 0.6 * alone.prompt_tokens
