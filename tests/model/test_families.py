"""What further families have of their own: Gemma-3, Idefics3, LLaVA, LLaVA-OneVision, with their tokenizer kinds.

Their way from a base to scores is in the matrix of families (tests/matrix).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tiny_families
import torch
from safetensors.torch import load_file

from mmprm.config.offline import OfflineSettings
from mmprm.data.problem import Problem
from mmprm.model import folders
from mmprm.model.step_text import MARKER, STEP_CLOSE, Renderer, control_ids, parse
from mmprm.model.tokens import tokenise
from mmprm.prm import score_candidates
from mmprm.prm.scorers import TransformersScorer, TreeScorer
from mmprm.prm.step_scores import Item
from mmprm.training.train_policy import start_model

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


@pytest.mark.parametrize("family", ["gemma3", "llava", "llava_onevision"])
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
    assert opened == "vLLM" if family.startswith("llava") else isinstance(opened, TreeScorer)


def test_names_of_other_families_stay(mini_model_folder: Path, tmp_path: Path) -> None:
    """InternVL's tower has the same names, and these are its published ones."""
    before = set(load_file(mini_model_folder / "model.safetensors"))
    assert set(load_file(start_model(mini_model_folder, tmp_path / "start") / "model.safetensors")) == before
