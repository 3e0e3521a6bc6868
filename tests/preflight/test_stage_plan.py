"""`snakemake plan` tells what every stage takes, and keeps what it told of the annotation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from evidence_run import evidence_run

from mmprm.config import Config, load
from mmprm.data import tables
from mmprm.preflight.examine import examine
from mmprm.preflight.stage_plan import plan_stages

ROOT = Path(__file__).parents[2]
ANNOTATION = {
    "problems": 400,
    "sampled_problems": 24,
    "failed_problems": 0,
    "sampled_rollouts": 1600,
    "sampled_tokens": 54_000,
    "rollouts": {"mean": 26_933, "low": 23_267, "high": 28_688, "at_most": 28_800},
    "tokens": {"mean": 909_417, "low": 773_234, "high": 1_013_621, "at_most": 7_000_000},
    "replayed_rollouts": 0,
    "device": "CPU, 2 cores",
    "tokens_per_second": 9000.0,
    "startup_seconds": 12.0,
    "mean_batch": 80.0,
    "max_running": 256,
    "prompt_tokens_per_rollout": 60.0,
    "cached_prompt_share": 0.9,
    "device_hours": {"mean": 0.031, "low": 0.027, "high": 0.035, "at_most": 0.2},
    "hours_by_shards": {"1": 0.031},
}
SEEDS = {
    "seconds": 30.0,
    "startup_seconds": 12.0,
    "completions": 3200,
    "generated_tokens": 160_000,
    "prompt_tokens": 190_000,
}


def run_folder(folder: Path, trained: bool = True, sampled: bool = True) -> tuple[Path, Path, Path]:
    """What a run has when `plan` runs: policy, seeds, and the annotation's plan."""
    policy, seeds, out = folder / "policy", folder / "seeds/seeds.parquet", folder / "plan.json"
    info = {"seconds": 360.0, "examples": 12_800, "steps": 400} if trained else {}
    tables.write_json(policy / "manifest.json", {"info": info, "files": {}})
    for shard in ("0-of-2", "1-of-2") if sampled else ():
        (folder / "seeds" / shard).mkdir(parents=True)
        tables.write_json(folder / "seeds" / shard / "rollouts.parquet.usage.json", SEEDS)
    tables.write_json(out, ANNOTATION)
    return policy, seeds, out


def planned(folder: Path, config: Config, **state: bool) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    policy, seeds, out = run_folder(folder, **state)
    plan_stages(config, policy, seeds, out)
    return json.loads(out.read_text())


@pytest.fixture
def evidence(monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.chdir(ROOT)
    return evidence_run()


def test_every_stage_has_a_plan_beside_that_of_the_annotation(
    tmp_path: Path, evidence: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    found = planned(tmp_path, evidence)
    assert {key: found[key] for key in ANNOTATION} == ANNOTATION
    stages = found["stages"]
    assert list(stages) == ["policy", "seeds", "annotation", "prm soft", "bench test", "bench ood"]
    assert [stage["basis"] for stage in stages.values()] == ["spent", "spent", "measured", *["scaled"] * 3]
    for name, stage in stages.items():
        for value in (stage["tokens"], stage["device_hours"]):
            assert value["low"] <= value["mean"] <= value["high"] and value["high"] > 0, name
    # Spent: 360 s of training; two shards of 30 s.
    assert stages["policy"]["device_hours"] == {"mean": 0.1, "low": 0.1, "high": 0.1}
    assert stages["seeds"]["tokens"]["low"] == 2 * 160_000
    assert stages["seeds"]["device_hours"]["mean"] == pytest.approx(60 / 3600, abs=1e-4)
    assert stages["annotation"]["tokens"]["high"] == ANNOTATION["tokens"]["high"]
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in stages) and "all that is known" in printed


def test_a_benchmark_follows_its_problems_the_candidates_and_the_length_of_solutions(
    tmp_path: Path, evidence: Config
) -> None:
    stages = planned(tmp_path / "a", evidence)["stages"]
    tokens = 640 * 16 * 160_000 / 3200
    assert stages["bench test"]["tokens"]["low"] <= tokens <= stages["bench test"]["tokens"]["high"]
    half = evidence.model_copy(update={"bench": evidence.bench.model_copy(update={"n": 8})})
    fewer = planned(tmp_path / "b", half)["stages"]
    assert fewer["bench test"]["tokens"]["high"] == stages["bench test"]["tokens"]["high"] / 2
    assert fewer["policy"] == stages["policy"]


def test_the_benchmarks_of_the_evidence_run_took_tokens_within_their_plan(
    tmp_path: Path, evidence: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the published run counted (results/evidence/*/usage.json, 2026-11-29): out of domain 1.45 times as
    many a solution as the pool's."""
    monkeypatch.setitem(SEEDS, "completions", 2000)
    monkeypatch.setitem(SEEDS, "generated_tokens", 126_396)
    stages = planned(tmp_path, evidence)["stages"]
    for name, took in {"seeds": 252_792, "bench test": 646_913, "bench ood": 175_931}.items():
        assert stages[name]["tokens"]["low"] <= took <= stages[name]["tokens"]["high"], name


def test_before_a_run_its_costs_hold_what_it_took(evidence: Config) -> None:
    """The same run, and the default one (2026-11-29); the PRM's are the tokens of its 3,927 paths, in four epochs."""
    default = load(yaml.safe_load((ROOT / "workflow_config.yaml").read_text()))
    bench = {"bench test": 646_913, "bench ood": 175_931}
    for config, took in (
        (evidence, {"seeds": 252_793, "annotation": 847_286, "prm soft": 1_510_936, **bench}),
        (default, {"seeds": 111_773, "annotation": 259_944, "bench test": 223_219}),
    ):
        costs = {cost.stage: cost.tokens for cost in examine(config).costs()}
        for name, tokens in took.items():
            found = costs[name]
            assert found is not None and found.low <= tokens <= found.high, name


def test_what_no_stage_has_measured_is_calculated_or_unknown(tmp_path: Path, evidence: Config) -> None:
    """A policy that came from elsewhere has no seconds; a CPU has no speed to calculate hours from."""
    stages = planned(tmp_path, evidence, trained=False, sampled=False)["stages"]
    assert [stages[name]["basis"] for name in ("policy", "seeds", "prm soft", "bench test")] == ["calculated"] * 4
    assert stages["prm soft"]["tokens"]["high"] > 0 and stages["prm soft"]["device_hours"] is None


def test_a_gpus_hours_are_calculated_where_nothing_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load(yaml.safe_load((ROOT / "configs/mm_prm.yaml").read_text()))
    stages = planned(tmp_path / "mm_prm", config, trained=False, sampled=False)["stages"]
    assert {stages[name]["basis"] for name in stages} == {"calculated", "measured"}
    assert all(stage["device_hours"]["mean"] > 0 for stage in stages.values())
