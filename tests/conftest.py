"""Fixtures that several parts share: the untrained mini model, the same with control tags, and a few problems."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from mmprm.problem import Problem
from mmprm.problems.mini import FAMILIES, generate

# A busy machine is slow, not wrong: no time limit an example.
settings.register_profile("mmprm", deadline=None)
settings.load_profile("mmprm")


@pytest.fixture(scope="session")
def mini_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mini base model with random weights: without control tags, as a base model comes."""
    from mmprm.training import mini_model

    return mini_model.build(tmp_path_factory.mktemp("models") / "mini-base")


@pytest.fixture(scope="session")
def mini_policy_folder(mini_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as the policy stage would leave it: with control tags and a manifest, but untrained."""
    from mmprm import models

    folder = tmp_path_factory.mktemp("models") / "policy"
    processor = models.load_processor(mini_model_folder)
    model = models.load_model(mini_model_folder)
    models.add_control_tokens(processor, model)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    models.write_manifest(folder, {"stage": "test"})
    return folder


@pytest.fixture(scope="session")
def mini_problems() -> list[Problem]:
    """Twelve drawn problems with solutions, two of each family."""
    return generate("sft", 12, list(FAMILIES), seed=0)
