"""What runs again: just what depends on what was changed. Dry runs in a folder where everything is finished."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from snake import Workflow, changed


def test_a_second_run_does_nothing(finished: Workflow) -> None:
    plan = finished.plan()
    assert "Nothing to be done" in plan.text
    assert plan.jobs == []


def test_results_that_were_copied_without_their_times_are_as_they_were_after_a_touch(
    finished: Workflow, tmp_path: Path
) -> None:
    """And need none where Snakemake's records are copied as well: of small files the content decides."""
    workflow = Workflow(tmp_path / "copy")
    for number, path in enumerate(sorted(finished.folder.glob("results/**/*"), reverse=True)):
        target = workflow.folder / path.relative_to(finished.folder)
        if path.is_file():  # the last files of a run first
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
            os.utime(target, (1_700_000_000 + number,) * 2)
    assert {"train_prm", "annotate"} <= workflow.plan().rules
    done = workflow.run("--touch")
    assert done.returncode == 0, done.stderr
    assert workflow.plan().jobs == []
    assert "intake" in finished.plan("--forcerun", "intake").rules, "which a changed picture needs"


def test_engine_shard_free_and_speed_settings_rerun_nothing(finished: Workflow) -> None:
    config = changed(
        {
            "engine.max_running": 7,
            "engine.kind": "transformers",
            "policy.training.save_every": 3,
            "policy.training.micro_batch_size": 2,
            "policy.packed_tokens": 4096,
            "prm.training.gradient_checkpointing": True,
        }
    )
    assert finished.plan(config=config).jobs == []


def test_a_prm_learning_rate_retrains_the_variants_that_take_it_and_annotates_nothing(finished: Workflow) -> None:
    plan = finished.plan(config=changed({"prm.training.learning_rate": 1e-3}))
    assert "results/small/prm/soft/manifest.json" in plan.outputs
    assert "results/small/bench/test/soft/scores.parquet" in plan.outputs
    assert not any("slow" in path for path in plan.outputs)
    assert plan.rules == {"train_prm", "evaluate_prm", "score_candidates", "measure", "summarise", "write_report"}
    assert "training.learning_rate=0.001" in plan.text  # the reason names the key and its value


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("label", "hard", 'training.label="hard"'),
        ("learning_rate", 1e-3, "training.learning_rate=0.001"),
        ("epochs", 2, "training.epochs=2.0"),
        ("max_paths_per_problem", 3, "training.max_paths_per_problem=3"),
        ("lora", {"rank": 4}, "training.lora.rank=4"),
        ("packing", "trees", 'prm.packing="trees"'),
    ],
)
def test_a_key_of_a_variant_retrains_that_variant_alone(finished: Workflow, key: str, value: Any, shown: str) -> None:
    plan = finished.plan(config=changed({f"prm.variants.slow.{key}": value}))
    assert plan.count("train_prm") == 1 and "results/small/prm/slow/manifest.json" in plan.outputs
    assert not any("/soft" in path for path in plan.outputs)
    assert plan.rules == {"train_prm", "evaluate_prm", "score_candidates", "measure", "summarise", "write_report"}
    assert shown in plan.text


def test_a_setting_that_a_variant_has_of_its_own_is_not_its_trainings(finished: Workflow) -> None:
    config = changed({"prm.packing": "trees", "prm.training.lora": {"rank": 4}})
    config["prm"]["variants"]["slow"] |= {"packing": "paths", "lora": None}
    plan = finished.plan(config=config)
    assert [paths[0] for rule, paths in plan.jobs if rule == "train_prm"] == ["results/small/prm/soft/manifest.json"]


def test_a_variant_asked_for_trains_no_other_and_repeats_no_stage(workflow: Workflow, finished: Workflow) -> None:
    target = "results/small/prm/slow/manifest.json"
    plan = workflow.plan(target)
    assert [paths[0] for rule, paths in plan.jobs if rule == "train_prm"] == [target]
    assert (plan.count("train_policy"), plan.count("select_seeds"), plan.count("gather_labels")) == (1, 1, 1)
    config = changed({"prm.variants.third": {"epochs": 2}})
    plan = finished.plan("results/small/prm/third/manifest.json", config=config)
    assert plan.rules == {"train_prm"} and plan.outputs == ["results/small/prm/third/manifest.json"]


def test_a_label_set_is_gathered_for_the_variants_that_name_it_and_repeats_nothing(finished: Workflow) -> None:
    changes = {"labels.sets.half": {"keep_ratio": 0.5}, "prm.variants.third": {"label_set": "half"}}
    plan = finished.plan("prm", config=changed(changes))
    table = "results/small/labels/half/paths.parquet"
    assert sorted(rule for rule, _ in plan.jobs) == ["evaluate_prm", "gather_label_set", "train_prm"]
    assert table in plan.outputs and "mmprm gather-labels --config results/small/config.json --set half " in plan.text
    (training,) = re.findall(r"mmprm train-prm .*", plan.text)
    assert f"--paths {table} " in training
    # One that no variant names yet is made when labels are asked for.
    del changes["prm.variants.third"]
    assert finished.plan("prm", config=changed(changes)).jobs == []
    assert finished.plan("labels", config=changed(changes)).rules == {"gather_label_set"}


def test_temperature_resamples_but_does_not_retrain_the_policy(finished: Workflow) -> None:
    plan = finished.plan(config=changed({"sampling.temperature": 0.9}))
    assert {"sample_seeds", "annotate", "sample_candidates", "train_prm"} <= plan.rules
    assert not {"intake", "train_policy"} & plan.rules
    assert "before: 'sampling.temperature=0.7' now: 'sampling.temperature=0.9'" in plan.text


def test_a_judge_grades_again_where_one_is_named_and_is_no_param_where_none_is(finished: Workflow) -> None:
    named = {"url": "http://host/v1", "model": "judge-1"}
    plan = finished.plan(config=changed({"grading.judge": named}))
    assert {"sample_seeds", "annotate", "sample_candidates"} <= plan.rules
    assert not {"intake", "train_policy"} & plan.rules
    assert 'grading.judge.identity="judge-1, prompt 1"' in plan.text
    assert "host" not in plan.text
    # So results that were made before there was such a section stay as they are.
    records = [file.read_text() for file in (finished.folder / ".snakemake/metadata").rglob("*") if file.is_file()]
    assert any("sampling.temperature=0.7" in record for record in records)
    assert not any("grading" in record for record in records)
    assert finished.plan(config=changed({"grading.workers": 4, "grading.judge": None})).jobs == []


def test_bounds_on_the_pass_rate_select_anew_and_an_adaptive_stop_samples_anew(finished: Workflow) -> None:
    plan = finished.plan(config=changed({"seeds.max_pass_rate": 0.8}))
    assert {"select_seeds", "annotate"} <= plan.rules and "sample_seeds" not in plan.rules
    plan = finished.plan(config=changed({"seeds.adaptive": True, "seeds.block": 2}))
    assert {"sample_seeds", "select_seeds"} <= plan.rules and "sample_candidates" not in plan.rules
    unused = {"seeds.block": 2, "seeds.stop_confidence": 0.8, "seeds.blank_share": 0.7}
    assert finished.plan(config=changed(unused)).jobs == []


def test_a_search_budget_and_a_setting_further_down_are_both_seen(finished: Workflow) -> None:
    # Snakemake does not look at the reasons of a job behind one that runs, if its input is ancient(): neither may hide.
    plan = finished.plan(config=changed({"annotation.max_rollouts": 40, "bench.resamples": 300}))
    assert plan.count("annotate") == 2
    assert "measure" in plan.rules
    assert not {"sample_seeds", "sample_candidates"} & plan.rules


def test_the_size_of_the_plan_reruns_nothing_but_the_plan(finished: Workflow) -> None:
    assert finished.plan(config=changed({"plan.problems": 5})).jobs == []
    assert finished.plan("plan", config=changed({"plan.problems": 5})).rules == {"plan"}


def test_the_bootstrap_alone_measures_again(finished: Workflow) -> None:
    plan = finished.plan(config=changed({"bench.resamples": 300}))
    assert plan.rules == {"measure", "measure_labels", "summarise", "write_report"}


def test_one_source_reruns_its_own_benchmark_only(finished: Workflow) -> None:
    plan = finished.plan(config=changed({"sources.ood.size": 5}))
    assert [paths[0] for rule, paths in plan.jobs if rule == "intake"] == ["results/small/problems/ood.parquet"]
    assert plan.count("sample_candidates") == 1
    assert not {"train_policy", "annotate", "train_prm"} & plan.rules


def test_a_sources_weight_retrains_the_policy_and_reads_nothing_again(finished: Workflow) -> None:
    (source,) = changed({})["policy"]["sources"]
    plan = finished.plan(config=changed({f"sources.{source}.weight": 2}))
    assert "train_policy" in plan.rules and "intake" not in plan.rules
    assert f"sources.{source}.weight=2.0" in plan.text
    assert finished.plan(config=changed({f"sources.{source}.weight": 1.0, "sources.ood.weight": 2})).jobs == []


@contextmanager
def without(file: Path) -> Iterator[None]:
    """The file is gone within the block, and is what it was behind it."""
    aside = file.with_name("aside")
    file.rename(aside)
    try:
        yield
    finally:
        aside.rename(file)


def test_the_reports_title_writes_the_report_again_and_nothing_else(finished: Workflow) -> None:
    assert finished.plan(config=changed({"report.title": "Another"})).rules == {"write_report"}


@pytest.mark.parametrize(
    ("table", "again", "kept"),
    [
        ("labels/paths.parquet", "gather_labels measure_labels train_prm measure write_report", "annotate intake"),
        ("annotation/1-of-2/nodes.parquet", "annotate gather_labels train_prm", "sample_seeds sample_candidates"),
        ("bench/ood/candidates.parquet", "gather_candidates score_candidates write_report", "train_prm annotate"),
        ("seeds/0-of-1/rollouts.parquet", "sample_seeds select_seeds annotate", "train_policy sample_candidates"),
    ],
)
def test_a_deleted_table_is_made_again_with_what_depends_on_it(
    table: str, again: str, kept: str, finished: Workflow
) -> None:
    with without(finished.folder / "results/small" / table):
        plan = finished.plan("report")
        assert set(again.split()) <= plan.rules
        assert not set(kept.split()) & plan.rules
        if table.startswith("annotation"):
            assert plan.count("annotate") == 1  # the other shard stays


@pytest.mark.parametrize(
    ("stage", "lost", "again"),
    [
        ("policy", "problems/sft.parquet", "intake"),
        ("seeds", "problems/pool.parquet", "intake"),
        ("seeds", "seeds/0-of-1/rollouts.parquet", "sample_seeds"),
        ("annotation", "policy/manifest.json", "train_policy"),
        ("labels", "annotation/1-of-2/status.parquet", "annotate"),
        ("prm", "seeds/seeds.parquet", "select_seeds"),
        ("prm", "labels/paths.parquet", "gather_labels"),
        ("bench", "prm/slow/manifest.json", "train_prm"),
        ("bench", "bench/ood/shards/0-of-1.parquet", "sample_candidates"),
        ("guided", "bench/ood/soft/scores.parquet", "score_candidates"),
    ],
)
def test_a_stage_is_not_done_where_a_job_behind_it_has_failed(
    stage: str, lost: str, again: str, finished: Workflow
) -> None:
    """Snakemake removes the outputs of a failed job; those of later jobs stand, and are stale."""
    with without(finished.folder / "results/small" / lost):
        assert again in finished.plan(stage).rules
    assert "Nothing to be done" in finished.plan(stage).text


def test_credibility_decodes_anew_with_a_variant_of_counts_alone(workflow: Workflow) -> None:
    decoding = {"guided": {"less": {"kind": "adaptive"}}, "prm.variants.slow": {"label": "counts"}}
    workflow.finish("guided", config=changed(decoding))
    plan = workflow.plan("guided", config=changed(decoding | {"guided.less.credibility": 0.8}))
    assert plan.rules == {"decode_guided", "measure_guided"}
    assert all("/slow/" in path for path in plan.outputs)
    assert "guided.less.credibility=0.8" in plan.text
    plan = workflow.plan("guided", config=changed(decoding | {"guided.less.doubt": 0.4}))
    assert any("/soft/" in path for path in plan.outputs) and any("/slow/" in path for path in plan.outputs)


def test_another_run_has_a_folder_of_its_own(finished: Workflow) -> None:
    plan = finished.plan(config=changed({"run": "other", "seed": 1}))
    assert {path.split("/")[1] for path in plan.outputs} == {"other"}
    assert finished.plan().jobs == []


def test_a_new_base_model_retrains_the_policy(finished: Workflow) -> None:
    base = finished.folder / "models/mini-base/config.json"
    base.write_text('{"other": 1}')
    try:
        assert "train_policy" in finished.plan().rules
    finally:
        base.write_text("{}")


def test_a_real_run_leaves_the_resolved_configuration_beside_its_results(workflow: Workflow) -> None:
    target = "results/small/problems/ood.parquet"
    done = workflow.run(target)
    assert done.returncode == 0, done.stderr
    resolved = workflow.folder / "results/small/config.json"
    assert json.loads(resolved.read_text())["annotation"]["c_puct"] == 0.125  # a default that no file states
    assert (workflow.folder / "results/small/logs/intake/ood.log").exists()
    assert (workflow.folder / "results/small/benchmarks/intake/ood.tsv").exists()

    config = changed({"sources.ood.size": 6, "bench.n": 2})
    assert workflow.run(target, config=config).returncode == 0
    assert json.loads(resolved.read_text())["sources"]["ood"]["size"] == 6
    assert workflow.plan(target, config=changed({"sources.ood.size": 6})).jobs == []
