"""What a change of scale, of speed or of looks repeats: nothing; and what a new benchmark or a new version does."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml
from snake import ROOT, Plan, Workflow, changed, small_config

from mmprm.data.shards import names


@pytest.mark.parametrize(
    "changes",
    [
        {"shards.annotation": 5, "shards.seeds": 2, "shards.bench": 3},
        {"engine.tensor_parallel": 4, "prm.training.gpus": 2, "prm.training.deepspeed": "zero2"},
        {"prm.training.micro_batch_size": 1, "policy.training.micro_batch_size": 1},
    ],
    ids=["shards", "gpus", "micro-batches"],
)
def test_shards_gpus_and_micro_batches_rerun_nothing(finished: Workflow, changes: dict[str, object]) -> None:
    assert finished.plan(config=changed(changes)).jobs == []


def test_what_is_not_whole_is_cut_as_the_configuration_says(finished: Workflow) -> None:
    """The other tables stay; what the new shards need of it is in the journal (annotation/test_stage.py)."""
    status = finished.folder / "results/small/annotation/1-of-2/status.parquet"
    aside = status.with_name("aside")
    status.rename(aside)
    try:
        plan = finished.plan(config=changed({"shards.annotation": 3}))
        outputs = [path for path in plan.outputs if "/annotation/" in path and path.endswith("status.parquet")]
        assert outputs == [f"results/small/annotation/{name}/status.parquet" for name in names(3)]
        assert not {"sample_seeds", "train_policy", "sample_candidates"} & plan.rules
    finally:
        aside.rename(status)


def test_a_new_benchmark_runs_itself_alone(finished: Workflow) -> None:
    config = changed({"sources.more": {"kind": "mini", "split": "test", "size": 3, "families": ["grid"]}})
    config["benchmarks"]["more"] = {"source": "more"}
    plan = finished.plan(config=config)
    own = {"intake", "sample_candidates", "gather_candidates", "score_candidates", "measure"}
    assert plan.rules == own | {"summarise", "write_report", "write_data_card"}
    of_own = [path for rule, paths in plan.jobs for path in paths if rule in own]
    assert of_own and all("/more" in path for path in of_own)


def test_a_comment_and_the_order_of_keys_rerun_nothing(finished: Workflow) -> None:
    command = finished.command("-n")
    file = finished.folder / "config.yaml"
    turned = dict(reversed(small_config().items()))
    file.write_text("# a comment\n" + yaml.safe_dump(turned, sort_keys=False) + "# another\n")
    assert "Nothing to be done" in finished.call(command).stdout


@pytest.mark.parametrize(
    ("file", "rule", "again", "kept"),
    [
        (
            "annotation",
            "annotate",
            "annotate gather_labels train_prm measure write_report",
            "sample_seeds train_policy",
        ),
        ("bench", "measure", "measure summarise write_report", "score_candidates train_prm"),
    ],
)
def test_a_new_version_of_a_stage_reruns_from_there(
    finished: Workflow, tmp_path: Path, file: str, rule: str, again: str, kept: str
) -> None:
    shutil.copy(ROOT / "Snakefile", tmp_path)
    for folder in ("rules", "profiles"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    rules = tmp_path / f"rules/{file}.smk"
    before, body = rules.read_text().split(f"rule {rule}:")
    old = body[body.index("version=") :].split(")")[0]
    rules.write_text(f"{before}rule {rule}:" + body.replace(old, "version=99", 1))
    command = finished.command("-n")
    command[command.index("--snakefile") + 1] = str(tmp_path / "Snakefile")
    done = finished.call(command)
    assert done.returncode == 0, done.stderr
    plan = Plan(done.stderr + done.stdout)
    assert set(again.split()) <= plan.rules and not set(kept.split()) & plan.rules
    assert "version=99" in plan.text


def test_as_many_shards_as_the_shell_takes_in_one_argument_are_no_limit(workflow: Workflow) -> None:
    """A command line of Snakemake's is one argument of a shell, which may have 128 KiB."""
    plan = workflow.plan("results/small/prm/soft.heldout.json", config=changed({"shards.annotation": 60}))
    assert plan.count("annotate") == 60
    commands = re.findall(r"mmprm .*", plan.text)
    assert any("annotation/all-of-60" in command for command in commands)
    assert max(map(len, commands)) < 600
