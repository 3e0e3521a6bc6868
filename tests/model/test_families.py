"""Further families, from a base folder of theirs to scores: Gemma-3, Idefics3, LLaVA, with their tokenizer kinds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_families
import torch
from safetensors.torch import load_file

from mmprm.config import Config, Sampling
from mmprm.config.offline import OfflineSettings
from mmprm.data.problem import Problem, write_problems
from mmprm.engine.base import Request
from mmprm.engine.transformers_engine import TransformersEngine
from mmprm.model import folders
from mmprm.model.step_text import MARKER, STEP_CLOSE, Renderer, control_ids, parse
from mmprm.model.tokens import tokenise
from mmprm.prm import score_candidates
from mmprm.prm.scorers import TransformersScorer, TreeScorer
from mmprm.prm.step_scores import Item
from mmprm.prm.train_prm import train_prm
from mmprm.prm.vllm_scorer import VllmScorer
from mmprm.training.train_policy import start_model, train_policy

FAMILIES = list(tiny_families.FAMILIES)


@pytest.fixture(scope="module")
def some(mini_problems: list[Problem]) -> list[Item]:
    """Solutions of a problem with an image, and of one without."""
    problems = [mini_problems[0], replace(mini_problems[1], images=())]
    return [(problem, parse(problem.solution or "").steps, answer) for problem in problems for answer in "57"]


@pytest.mark.parametrize("family", FAMILIES)
def test_both_transformers_scorers_read_what_training_reads(family: str, some: list[Item], tmp_path: Path) -> None:
    folder = tiny_families.build(tmp_path / family, family)
    processor = folders.load_processor(folder)
    ids = control_ids(processor.tokenizer)
    texts = [Renderer(processor).marked(*item) for item in some]
    trained = list(tokenise(processor, texts, [item[0].images for item in some]))
    alone, trees = TransformersScorer(folder).score(some), TreeScorer(folder).score(some)
    for item, tokens, one, packed in zip(some, trained, alone, trees, strict=True):
        found = tokens["input_ids"].tolist()
        assert [found[i - 1] for i, token in enumerate(found) if token == ids[MARKER]][:-1] == [ids[STEP_CLOSE]] * len(
            item[1]
        )
        assert one.read == packed.read and one.read is not None and one.read.length == len(found)
        assert packed.probabilities == pytest.approx(one.probabilities, abs=1e-5)
        assert len(set(one.probabilities)) > 1


@pytest.mark.parametrize("family", ["gemma3", "llava"])
def test_a_base_folder_with_names_of_transformers_gets_those_that_vllm_reads(family: str, tmp_path: Path) -> None:
    """Otherwise vLLM refused the policy, once it was trained."""
    base = tiny_families.build(tmp_path / "base", family, tags=False)
    assert any(name.startswith("vision_tower.embeddings.") for name in load_file(base / "model.safetensors"))
    started = start_model(base, tmp_path / "start")
    vision = [name for name in load_file(started / "model.safetensors") if name.startswith("vision_tower.")]
    assert vision and all(name.startswith("vision_tower.vision_model.") for name in vision)
    before, after = (folders.load_model(folder).state_dict() for folder in (base, started))
    same = [name for name in before if before[name].shape == after[name].shape]
    assert len(same) > len(before) - 3 and all(torch.equal(before[name], after[name]) for name in same)


@pytest.mark.parametrize("family", FAMILIES)
def test_where_vllm_would_read_another_model_transformers_scores(
    family: str, some: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Idefics3 in vLLM 0.32: random rows, probabilities off by 0.39. Gemma-3 on the CPU: causal images, 1.6e-3."""
    folder = tiny_families.build(tmp_path / family, family)
    monkeypatch.setattr(score_candidates, "VllmScorer", lambda config, prm: "vLLM")
    opened = score_candidates.open_scorer(OfflineSettings(), folder)
    assert opened == "vLLM" if family == "llava" else isinstance(opened, TreeScorer)


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.parametrize("family", ["gemma3", "llava"])
def test_vllm_itself_scores_as_transformers_does(family: str, some: list[Item], tmp_path: Path) -> None:
    folder = tiny_families.build(tmp_path / family, family)
    engine = {"kind": "vllm", "max_model_len": 512, "kv_cache_gib": 1, "max_running": 8}
    scorer = VllmScorer(OfflineSettings.model_validate({"engine": engine}), folder)
    try:
        scores = scorer.score(some)
    finally:
        scorer.close()
    for item, found, expected in zip(some, scores, TransformersScorer(folder).score(some), strict=True):
        assert found.read == expected.read
        pictured = family == "gemma3" and item[0].images  # on the CPU: see vllm_scorer.unread
        assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-2 if pictured else 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "family", ["gemma3", *(pytest.param(name, marks=pytest.mark.heavy) for name in ("idefics3", "llava"))]
)
def test_a_family_goes_from_its_base_to_samples_and_a_prm(
    family: str,
    training_config: Callable[..., Config],
    mini_problems: list[Problem],
    prm_tables: tuple[Path, Path],
    some: list[Item],
    tmp_path: Path,
) -> None:
    config = training_config(variants={"hard": {"label": "hard"}}, max_steps=2, max_length=768)
    base = tiny_families.build(tmp_path / "base", family, tags=False)
    engine = config.engine.model_copy(update={"kind": "transformers", "max_model_len": 768})
    policy = config.policy.model_copy(update={"base": base})
    config = config.model_copy(update={"policy": policy, "engine": engine})
    write_problems(tmp_path / "sft.parquet", [replace(mini_problems[0], images=()), *mini_problems[1:6]])
    train_policy(config, [tmp_path / "sft.parquet"], tmp_path / "sft", tmp_path / "policy")
    sampler = TransformersEngine(config, tmp_path / "policy")
    sampler.submit(Request("a", mini_problems[0], (), 3, Sampling(max_new_tokens=8), seed=1))
    (finished,) = sampler.step()
    assert finished.error is None and len(finished.completions) == 3
    train_prm(config, "hard", tmp_path / "policy", *prm_tables, tmp_path / "work", tmp_path / "prm")
    scores = TransformersScorer(tmp_path / "prm").score(some)
    assert all(0 < p < 1 for one in scores for p in one.probabilities)


def test_names_of_other_families_stay(mini_model_folder: Path, tmp_path: Path) -> None:
    """InternVL's tower has the same names, and these are its published ones."""
    before = set(load_file(mini_model_folder / "model.safetensors"))
    assert set(load_file(start_model(mini_model_folder, tmp_path / "start") / "model.safetensors")) == before
