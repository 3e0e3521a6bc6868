"""configs/smollm2.yaml, cut to a few rows: every stage on a model that was trained by others."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from pretrained import smollm2
from snake import ROOT, Workflow
from toy_world import rows


def cut(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with a few rows, updates and rollouts."""
    sizes = {"sft": 192, "sft_far": 16, "pool": 12, "test": 4, "far": 2}
    for name, size in sizes.items():
        config["sources"][name]["size"] = size
    config["policy"]["base"] = str(smollm2())
    config["policy"]["training"] |= {"save_every": 100}
    config["prm"]["training"] |= {"max_steps": 2}
    config["seeds"] |= {"rollouts": 4}
    config["annotation"] |= {"max_searches": 2, "max_rollouts": 12}
    config["bench"] |= {"n": 2, "resamples": 100, "cross_check": 2}
    config["labels"]["dev_share"] = 0.0
    return config


@pytest.mark.slow
@pytest.mark.heavy
def test_all_stages_run_on_a_pretrained_model(workflow: Workflow) -> None:
    config = cut(yaml.safe_load((ROOT / "configs/smollm2.yaml").read_text()))
    done = workflow.run(config=config)
    assert done.returncode == 0, done.stderr[-4000:]
    results = workflow.folder / "results/smollm2"
    summary = json.loads((results / "bench/summary.json").read_text())
    assert {row["metric"] for row in summary} >= {"random", "majority", "oracle", "bon/mean_odds"}
    candidates = rows(results / "bench/test/candidates.parquet")
    assert any(row["status"] == "ok" for row in candidates)
    assert (results / "report.html").stat().st_size > 10_000
