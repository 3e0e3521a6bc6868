"""A local model judges: what an untrained one says cannot be read, and ends the job with the paths that it dropped."""

from __future__ import annotations

from pathlib import Path

import pytest
from judging import EXTRA, Judging, paths_of, problem, run_config

from mmprm.data import schemas, tables
from mmprm.mini.problems import generate
from mmprm.runtime.errors import UserError


@pytest.mark.parametrize("kind", ["transformers", pytest.param("vllm", marks=[pytest.mark.slow, pytest.mark.heavy])])
def test_the_nonsense_of_a_local_model_without_step_tags_is_unreadable(
    kind: str, mini_model_folder: Path, tmp_path: Path
) -> None:
    drawn = generate("sft", 1, ["bars"], seed=0)[0].images
    local = {"kind": kind, "model": str(mini_model_folder), "max_new_tokens": 8, "tries": 1, "max_model_len": 2048}
    judging = Judging(tmp_path, [problem(3, images=drawn), problem(4)], [*paths_of(3)[:3], *paths_of(4), EXTRA])
    with pytest.raises(UserError, match=r"3 training paths 0 kept, 3 dropped .*, 3 of them without a readable reply"):
        judging.run(run_config(**local))
    stopped = tables.read_rows(tmp_path / "consensus.dropped.stopped.parquet", schemas.DISAGREED)
    assert {row["reason"] for row in stopped} <= {"reply_malformed", "reply_truncated"} and len(stopped) == 3
    held_out = Judging(tmp_path, [problem(4)], [*paths_of(4), EXTRA])  # nothing to ask: no model is loaded
    held_out.run(run_config(**local))
    assert held_out.kept == held_out.rows and held_out.counts["model"] == mini_model_folder.name
    assert (held_out.counts["calls"], held_out.counts["by_kind"]) == (0, {})


def test_a_prompt_that_is_too_long_has_no_reply_and_one_that_is_no_model_is_named(
    mini_model_folder: Path, tmp_path: Path
) -> None:
    local = {"kind": "transformers", "model": str(mini_model_folder), "tries": 1, "max_model_len": 64}
    with pytest.raises(UserError, match="no_reply"):
        Judging(tmp_path, [problem(3)], paths_of(3)[:1]).run(run_config(**local))
    with pytest.raises(UserError, match="no-model"):
        Judging(tmp_path, [problem(3)]).run(run_config(**{**local, "model": str(tmp_path / "no-model")}))
