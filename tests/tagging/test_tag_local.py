"""A local model that knows no step tags rewrites: what an untrained one writes is refused, with reasons."""

from __future__ import annotations

from pathlib import Path

import pytest
from tagging_server import Tagging, problem, run_config

from mmprm.mini.problems import generate
from mmprm.runtime.errors import UserError


@pytest.mark.parametrize("kind", ["transformers", pytest.param("vllm", marks=pytest.mark.slow)])
def test_a_local_model_without_step_tags_is_asked_and_its_nonsense_refused(
    kind: str, mini_model_folder: Path, tmp_path: Path
) -> None:
    drawn = generate("sft", 2, ["bars"], seed=0)
    asked = [problem(3, images=drawn[0].images), drawn[1]]
    local = {"kind": kind, "model": str(mini_model_folder), "max_new_tokens": 8, "tries": 1, "max_model_len": 1024}
    found = Tagging(tmp_path, asked).run(run_config(local))
    assert found.counts["kept_by_method"] == {"tagged": 1}
    assert found.reasons["raw/0003"] in ("reply_malformed", "reply_truncated", "no_knowledge_points")
    assert found.counts["model"]["calls"]["knowledge"] == 1 and found.counts["model"]["tokens"]["knowledge"] <= 8


def test_a_prompt_that_is_too_long_is_refused_and_one_that_is_no_model_is_named(
    mini_model_folder: Path, tmp_path: Path
) -> None:
    asked = [problem(3), generate("sft", 1, ["bars"], seed=0)[0]]
    local = {"kind": "transformers", "model": str(mini_model_folder), "tries": 1, "max_model_len": 64}
    found = Tagging(tmp_path, asked).run(run_config(local))
    assert found.reasons == {"raw/0003": "no_reply"}
    with pytest.raises(UserError, match="no-model"):
        Tagging(tmp_path, asked).run(run_config({**local, "model": str(tmp_path / "no-model")}))
