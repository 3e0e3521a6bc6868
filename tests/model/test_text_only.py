"""A language model without eyes as the base: Llama and Qwen2, from the base folder to scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_families

from mmprm.config import Config, Sampling
from mmprm.config.offline import OfflineSettings
from mmprm.data.problem import Problem, write_problems
from mmprm.engine.base import Request
from mmprm.engine.transformers_engine import TransformersEngine
from mmprm.model import folders
from mmprm.model.step_text import Renderer, parse
from mmprm.prm.scorers import TransformersScorer, TreeScorer
from mmprm.prm.step_scores import Item
from mmprm.prm.train_prm import train_prm
from mmprm.prm.vllm_scorer import VllmScorer
from mmprm.runtime.errors import UserError
from mmprm.training.train_policy import train_policy


@pytest.fixture(scope="module")
def without(mini_problems: list[Problem]) -> list[Problem]:
    """The problems without their images."""
    return [replace(problem, images=()) for problem in mini_problems]


@pytest.fixture(scope="module")
def items(without: list[Problem]) -> list[Item]:
    return [(problem, parse(problem.solution or "").steps, answer) for problem in without[:3] for answer in "57"]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", pytest.param("qwen2", marks=pytest.mark.heavy)])
@pytest.mark.parametrize("packing", ["paths", "trees"])
def test_a_text_model_goes_from_its_base_to_samples_and_a_prm(
    family: str,
    packing: str,
    training_config: Callable[..., Config],
    without: list[Problem],
    prm_tables: tuple[Path, Path],
    items: list[Item],
    tmp_path: Path,
) -> None:
    config = training_config(variants={"hard": {"label": "hard", "packing": packing}}, max_steps=2, max_length=768)
    base = tiny_families.build_text(tmp_path / "base", family, tags=False)
    engine = config.engine.model_copy(update={"kind": "transformers", "max_model_len": 768})
    policy = config.policy.model_copy(update={"base": base})
    config = config.model_copy(update={"policy": policy, "engine": engine})
    write_problems(tmp_path / "sft.parquet", without[:6])
    train_policy(config, [tmp_path / "sft.parquet"], tmp_path / "sft", tmp_path / "policy")
    sampler = TransformersEngine(config, tmp_path / "policy")
    sampler.submit(Request("a", without[0], (), 3, Sampling(max_new_tokens=8), seed=1))
    (finished,) = sampler.step()
    assert finished.error is None and len(finished.completions) == 3
    seeds, paths = tmp_path / "text.parquet", prm_tables[1]
    write_problems(seeds, without)
    train_prm(config, "hard", tmp_path / "policy", seeds, paths, tmp_path / "work", tmp_path / "prm")
    alone, trees = TransformersScorer(tmp_path / "prm").score(items), TreeScorer(tmp_path / "prm").score(items)
    for one, packed in zip(alone, trees, strict=True):
        assert packed.read == one.read
        assert packed.probabilities == pytest.approx(one.probabilities, abs=1e-5)
    assert type(folders.load_model(tmp_path / "prm")).__name__.endswith("ForCausalLM")


def test_a_problem_with_an_image_is_named_where_the_model_reads_text_alone(
    mini_problems: list[Problem], tmp_path: Path
) -> None:
    processor = folders.load_processor(tiny_families.build_text(tmp_path / "base", "llama"))
    with pytest.raises(
        UserError, match=rf"'{mini_problems[0].problem_id}' has an image, and the model reads text alone"
    ):
        Renderer(processor).prompt(mini_problems[0])


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_vllm_scores_a_text_model_as_transformers_does(family: str, items: list[Item], tmp_path: Path) -> None:
    folder = tiny_families.build_text(tmp_path / family, family)
    engine = {"kind": "vllm", "max_model_len": 512, "kv_cache_gib": 1, "max_running": 8}
    scorer = VllmScorer(OfflineSettings.model_validate({"engine": engine}), folder)
    try:
        scores = scorer.score(items)
    finally:
        scorer.close()
    for found, expected in zip(scores, TransformersScorer(folder).score(items), strict=True):
        assert found.read == expected.read
        assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-4)
