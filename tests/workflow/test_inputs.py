"""Input paths follow from the configuration and from what is finished; no Snakemake runs here."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snake import changed

from mmprm.config import load
from mmprm.runtime import gpu_lease
from mmprm.runtime.errors import UserError
from mmprm.workflow.devices import HEAVY_THREADS, Devices
from mmprm.workflow.inputs import Inputs

JUDGE = {"url": "http://host/v1", "model": "judge"}


def inputs(changes: dict[str, Any] | None = None) -> Inputs:
    return Inputs(load(changed(changes or {})))


def named(**wildcards: str) -> SimpleNamespace:
    return SimpleNamespace(**wildcards)


def test_a_variant_is_trained_on_its_label_set_or_on_what_the_consensus_keeps() -> None:
    plain, judged = inputs(), inputs({"labels.consensus": JUDGE})
    assert plain.training_paths(named(variant="soft")) == "results/small/labels/paths.parquet"
    assert plain.judged == []
    assert judged.training_paths(named(variant="soft")) == "results/small/labels/consensus.parquet" == judged.judged[0]
    half = {"labels.sets.half": {"keep_ratio": 0.5}, "prm.variants.slow.label_set": "half"}
    half_judged = inputs(half | {"labels.consensus": JUDGE})
    assert half_judged.training_paths(named(variant="slow")) == "results/small/labels/half/paths.parquet"


def test_a_curated_source_is_compared_with_benchmarks_but_not_with_those_known_to_share_nothing() -> None:
    assert inputs().tested_against(named(source="curated")) == []  # drawn from other splits
    own = {"kind": "table", "path": "data/own.json"}
    changes = {"sources.own": own, "benchmarks.own": {"source": "own"}}
    assert inputs(changes).tested_against(named(source="curated")) == ["results/small/problems/own.parquet"]
    left_out = inputs(changes | {"sources.curated.against": ["test"]})
    assert left_out.tested_against(named(source="curated")) == []


def test_step_data_is_compared_with_all_benchmarks_and_a_step_benchmark_with_none() -> None:
    steps = {"a": {"kind": "math_shepherd", "path": "a.parquet"}, "b": {"kind": "processbench", "path": "b.json"}}
    run = inputs({"step_data": steps})
    assert run.tested_problems(named(steps="a")) == [
        "results/small/problems/ood.parquet",
        "results/small/problems/test.parquet",
        "results/small/step_data/b/problems.parquet",
    ]
    assert run.tested_problems(named(steps="b")) == []


def test_patterns_of_kinds_match_whole_names_only() -> None:
    run = inputs({"sources.curated2": {"kind": "table", "path": "a.json"}})
    assert run.of_kind("curated") == "curated" and run.of_kind("tagged") == "(?!)"
    others = re.compile(run.not_of_kind("curated"))
    assert others.fullmatch("curated2") and others.fullmatch("pool") and not others.fullmatch("curated")


def test_an_ablation_names_the_tables_of_its_variants_on_its_benchmarks() -> None:
    run = inputs({"ablations.labels": {"title": "x", "variants": ["soft"], "benchmarks": ["test"]}})
    assert run.ablation_tables(named(ablation="labels")) == {
        "problems": ["results/small/problems/test.parquet"],
        "candidates": ["results/small/bench/test/candidates.parquet"],
        "scores": ["results/small/bench/test/soft/scores.parquet"],
        "metrics": ["results/small/bench/test/soft/metrics.json"],
        "manifests": ["results/small/prm/soft/manifest.json"],
    }
    assert run.ablation_pages(named()) == [f"results/small/ablations/labels.{end}" for end in ("html", "csv")]
    with pytest.raises(UserError, match="ablations: the configuration names none"):
        inputs().ablation_pages(named())


def test_the_outcome_baseline_of_a_variant_is_every_other_outcome_variant() -> None:
    run = inputs({"prm.variants.orm": {"label": "outcome"}})
    assert run.outcome_scores(named(benchmark="test", variant="soft")) == [
        "results/small/bench/test/orm/scores.parquet"
    ]
    assert run.outcome_scores(named(benchmark="test", variant="orm")) == []


def test_a_stage_has_the_shards_in_which_it_was_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert inputs({"shards.annotation": 3}).shards("annotation") == ["0-of-3", "1-of-3", "2-of-3"]
    for shard in ("0-of-2", "1-of-2"):
        (tmp_path / "results/small/annotation" / shard).mkdir(parents=True)
        (tmp_path / "results/small/annotation" / shard / "status.parquet").touch()
    finished = inputs({"shards.annotation": 3})
    assert finished.shards("annotation") == ["0-of-2", "1-of-2"]
    assert finished.every("annotation", "annotation/{shard}") == "results/small/annotation/all-of-2"


def test_a_missing_base_model_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"policy\.base: models/mini-base .* `snakemake mini_base` makes it"):
        inputs().base_model(named())
    (tmp_path / "models/mini-base").mkdir(parents=True)
    (tmp_path / "models/mini-base/config.json").touch()
    assert inputs().base_model(named()) == ["models/mini-base/config.json"]


def test_labels_are_compared_with_the_truth_where_annotated_problems_are_drawn() -> None:
    assert inputs().label_accuracy == ["results/small/labels/quality.json"]
    assert inputs({"sources.pool": {"kind": "table", "path": "a.json"}}).label_accuracy == []


def test_gpus_follow_from_the_engine_and_from_each_variants_training() -> None:
    changes = {"engine.tensor_parallel": 2, "prm.training.deepspeed": "zero2", "prm.variants.slow.gpus": 4}
    devices = Devices(load(changed(changes)))
    assert (devices.model, devices.sampling, devices.policy, devices.judge) == (2, 2, 1, 0)
    assert (devices.prm(named(variant="soft")), devices.prm(named(variant="slow")), devices.largest) == (1, 4, 4)
    served = {"engine.kind": "server", "engine.url": "http://host/v1"}
    assert Devices(load(changed(served))).sampling == 0


def test_threads_follow_from_the_engine_and_from_each_variants_training() -> None:
    changes = {"engine.threads": 1, "prm.training.threads": 2, "prm.variants.slow.threads": 4}
    devices = Devices(load(changed(changes)))
    assert (devices.engine_threads, devices.policy_threads) == (1, HEAVY_THREADS)
    assert (devices.prm_threads(named(variant="soft")), devices.prm_threads(named(variant="slow"))) == (2, 4)


@pytest.mark.parametrize(("listed", "at_once"), [([], 6), (["0", "1", "2", "3", "4", "5", "6", "7"], 2)])
def test_only_where_there_are_gpus_do_jobs_that_need_one_wait_for_each_other(
    listed: list[str], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_lease, "pool", lambda: [gpu_lease.Device(number, number) for number in listed])
    assert Devices(load(changed({"engine.tensor_parallel": 2}))).at_once(6) == at_once


def test_a_local_model_that_tags_takes_a_gpu_and_rules_take_none() -> None:
    tagged = {"sources.steps": {"kind": "tagged", "sources": ["sft"]}}
    rules = Devices(load(changed(tagged)))
    assert rules.tagging(named(source="steps")) == 0
    assert rules.tagging_threads(named(source="steps")) == rules.config.grading.workers
    local = {"by": "model", "model": {"kind": "vllm", "model": "models/rewriter"}}
    model = Devices(load(changed({"sources.steps": tagged["sources.steps"] | local})))
    assert (model.tagging(named(source="steps")), model.tagging_threads(named(source="steps"))) == (1, HEAVY_THREADS)
    assert model.checking_threads(named(source="sft")) == 1
