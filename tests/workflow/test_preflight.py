"""What is missing or will not fit ends a run at its start, in one list; what its jobs do not need does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snake import ROOT, Workflow, changed

from mmprm.config import load
from mmprm.preflight import cluster
from mmprm.preflight.cluster import Asked, minutes_of, partition_findings
from mmprm.runtime.errors import UserError
from mmprm.workflow.check_start import check_start

TOO_MUCH = {"hardware": {"gpu_memory_gib": 1, "gpus": 1}, "policy.training.micro_batch_size": 4096}


def snakemake(*rules: str, executor: str = "local", **resources: Any) -> Any:
    """What check_start reads of Snakemake's workflow, as if these rules had jobs to run."""
    jobs = [SimpleNamespace(rule=SimpleNamespace(name=rule), resources=resources) for rule in rules]
    return SimpleNamespace(
        is_main_process=True,
        executor_plugin=SimpleNamespace(name=executor),
        dag=SimpleNamespace(needrun_jobs=lambda: iter(jobs)),
    )


@pytest.fixture
def mini_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the base of the mini world."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "models/mini-base", tmp_path / "models/mini-base")
    return tmp_path


def test_a_start_without_its_data_and_model_lists_all_that_is_missing(workflow: Workflow) -> None:
    """Snakemake alone would name the files of one rule, and the model only when they are there."""
    changes = {
        "policy.base": "models/mine",
        "sources.a": {"kind": "table", "path": "data/a.parquet"},
        "sources.b": {"kind": "table", "path": "data/b.parquet"},
        "seeds.sources": ["a"],
        "benchmarks.b": {"source": "b"},
    }
    done = workflow.run("-n", config=changed(changes))
    assert done.returncode != 0
    told = done.stdout + done.stderr
    assert "3 things are missing or will not fit" in told
    for text in (
        "policy.base: models/mine is no",
        "sources.a.path: data/a.parquet",
        "sources.b.path: data/b.parquet",
    ):
        assert text in told
    # A table that is made already needs its file no more.
    tables = workflow.folder / "results/small/problems"
    tables.mkdir(parents=True)
    for end in ("parquet", "refused.parquet", "intake.json"):
        (tables / f"a.{end}").touch()
    (workflow.folder / "models/mine").mkdir(parents=True)
    (workflow.folder / "models/mine/config.json").write_text("{}")
    (workflow.folder / "data").mkdir()
    (workflow.folder / "data/b.parquet").touch()
    done = workflow.run("-n", config=changed(changes))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_what_will_not_fit_ends_the_run_before_its_first_job(workflow: Workflow) -> None:
    shutil.rmtree(workflow.folder / "models")
    shutil.copytree(ROOT / "models/mini-base", workflow.folder / "models/mini-base")
    done = workflow.run("policy", config=changed(TOO_MUCH))
    told = done.stdout + done.stderr
    assert done.returncode != 0
    assert "policy.training: training the policy needs" in told and "a GPU has 1.0" in told
    assert "policy.training.gpus: 1 GPUs, but this machine has none" in told
    assert not (workflow.folder / "results/small/problems").exists()


def test_only_stages_that_have_jobs_to_run_are_looked_at(mini_here: Path) -> None:
    config = load(changed(TOO_MUCH))
    with pytest.raises(UserError, match="training the policy needs"):
        check_start(config, snakemake("train_policy", "intake"))
    assert check_start(config, snakemake("intake", "write_report")) == []
    assert check_start(config, snakemake()) == []
    assert check_start(config, snakemake("train_policy", executor="touch")) == []  # nothing runs


def test_preflight_warn_lets_the_run_go_on(mini_here: Path) -> None:
    warnings = check_start(load(changed(TOO_MUCH | {"preflight": "warn"})), snakemake("train_policy"))
    assert any(warning.startswith("policy.training: training the policy needs") for warning in warnings)


def test_jobs_of_a_cluster_are_compared_with_what_the_configuration_names(mini_here: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(cluster, "_limits", lambda: {"gpu*": 1440.0, "long": None})
    undescribed = check_start(load(changed({})), snakemake("train_policy", executor="slurm"))
    assert any("set hardware.gpu and hardware.gpus" in warning for warning in undescribed)
    described = changed({"hardware": {"gpu": "h100", "gpus": 8}})
    asked = {"slurm_partition": "gpu", "runtime": 60}
    assert check_start(load(described), snakemake("train_policy", executor="slurm", **asked)) == []
    with pytest.raises(UserError) as told:
        check_start(
            load(described | {"hardware": {"gpu": "h100", "gpus": 8, "gpu_memory_gib": 0.5}}),
            snakemake("train_policy", executor="slurm", slurm_partition="gpus", runtime=60),
        )
    assert "there is no partition 'gpus'; the cluster has gpu, long" in str(told.value)
    assert "training the policy needs" in str(told.value)


def test_a_partition_that_ends_jobs_too_early_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_limits", lambda: {"gpu*": 1440.0, "long": None})
    asked = [Asked("train_policy", "policy", None, 2880), Asked("annotate", "annotation", "long", 9999)]
    (told,) = partition_findings(asked)
    assert told.key.startswith("set-resources.train_policy.runtime") and "gpu ends jobs after 1440" in told.text
    times = {"infinite": None, "30": 30, "90:30": 90.5, "2:00:00": 120, "1-00:00:00": 1440, "2-12": 3600}
    assert {text: minutes_of(text) for text in times} == times


def test_looking_takes_a_fraction_of_a_second(mini_here: Path) -> None:
    """Neither torch nor transformers is imported: a run starts with its check, and a large one has many sources."""
    import subprocess
    import sys

    (mini_here / "config.json").write_text(json.dumps(changed(TOO_MUCH | {"preflight": "warn"})))
    script = (
        "import json, sys; from mmprm.config import load; from mmprm.preflight.examine import at_start\n"
        "assert at_start(load(json.load(open('config.json'))), ['train_policy'], here=True)\n"
        "print(sorted(set(sys.modules) & {'torch', 'transformers', 'vllm', 'scipy', 'PIL.Image'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
