"""Names of files reach commands as they are: no shell reads them, and none is taken for an option."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from snake import ROOT, Workflow, changed
from test_workflow_rules import JOBS
from typer.testing import CliRunner

from mmprm.cli import app
from mmprm.config import load
from mmprm.runtime.errors import UserError

ODD = """-it's a "b" $(touch owned) `touch owned`; touch owned"""


@pytest.mark.parametrize("name", sorted(JOBS))
def test_every_path_of_a_command_is_quoted(name: str) -> None:
    command = JOBS[name].split("    shell:")[1]
    unquoted = re.findall(r"\{((?:input|output|params|log)[^}:]*)\}", command)
    # An option and a name without special characters, which the configuration checks.
    assert unquoted == (["params.of"] if name == "gather_labels" else [])


def test_tables_of_a_step_benchmark_are_one_argument_each_whatever_their_names(workflow: Workflow) -> None:
    tables = {"problems": f"{ODD}.parquet", "paths": "data/$(touch owned) paths.parquet"}
    (workflow.folder / "data").mkdir()
    for path in tables.values():
        (workflow.folder / path).touch()
    plan = workflow.plan("step_benchmarks", config=changed({"step_benchmarks": {"own": {**tables, "threshold": 0.5}}}))
    (score,) = set(re.findall(r"mmprm score-steps .*soft.*", plan.text))
    (measure,) = set(re.findall(r"mmprm measure-steps .*soft.*", plan.text))
    problems, paths = tables.values()
    assert _after("--problems", _arguments(score, workflow)) == [problems]
    assert _after("--paths", _arguments(score, workflow)) == [paths]
    scores = "results/small/steps/own/soft/scores.parquet"
    assert _after("--test", _arguments(measure, workflow)) == [problems, paths, scores]
    assert not (workflow.folder / "owned").exists()


def _arguments(command: str, workflow: Workflow) -> list[str]:
    """What `mmprm` is given when a shell runs the command."""
    told = command.partition(" > ")[0]
    script = f"mmprm() {{ printf '%s\\0' \"$@\"; }}; {told}"
    done = subprocess.run(["bash", "-c", script], cwd=workflow.folder, text=True, capture_output=True, check=True)
    return done.stdout.split("\0")[:-1]


def _after(option: str, arguments: list[str]) -> list[str]:
    rest = arguments[arguments.index(option) + 1 :]
    return rest[: next((n for n, argument in enumerate(rest) if argument.startswith("--")), None)]


def test_a_value_that_begins_with_a_dash_is_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    from mmprm.evaluation import sample_candidates

    seen: list[list[Path]] = []
    monkeypatch.setattr(sample_candidates, "gather_candidates", lambda shards, out: seen.append([*shards, out]))
    done = CliRunner().invoke(app, ["gather-candidates", "--shards", "-a", "b c", "-d", "--out", "-e"])
    assert done.exit_code == 0, done.output
    assert seen == [[Path("-a"), Path("b c"), Path("-d"), Path("-e")]]
    with pytest.raises(UserError, match=r"write \./--x\.parquet"):
        load(changed({"step_benchmarks": {"own": {"problems": "--x.parquet", "paths": "p", "threshold": 0.5}}}))


@pytest.fixture
def odd_folder(tmp_path: Path) -> Workflow:
    """A working directory with an odd name."""
    return Workflow(tmp_path / ODD)


def test_a_run_in_a_folder_of_an_odd_name_reads_files_of_odd_names(odd_folder: Workflow) -> None:
    data = odd_folder.folder / f"{ODD}.jsonl"
    data.write_text('{"id": "q", "question": "What is 1 + 1?", "answer": "2"}\n')
    source = {"kind": "table", "path": data.name, "columns": {"image": ""}}
    done = odd_folder.run("results/small/problems/own.parquet", config=changed({"sources.own": source}))
    assert done.returncode == 0, done.stderr
    assert not list(odd_folder.folder.rglob("owned"))


@pytest.mark.heavy
def test_the_upgrade_line_keeps_a_run_that_was_finished_before_paths_were_quoted(workflow: Workflow) -> None:
    workflow.finish()
    for file in (workflow.folder / ".snakemake/metadata").rglob("*"):
        if file.is_file():
            file.write_text(file.read_text().replace(":q}", "}"))  # the shell line as it was recorded
    before = workflow.plan()
    assert "train_policy" in before.rules and "Code has changed" in before.text
    page = (ROOT / "docs/upgrading.md").read_text()
    check, keep = (line.split() for line in re.findall(r"^snakemake (.*(?:--rerun-triggers|--touch).*)$", page, re.M))
    assert "Nothing to be done" in workflow.plan(*check).text
    done = workflow.run(*keep)
    assert done.returncode == 0, done.stderr
    assert workflow.plan().jobs == [] and workflow.plan("bench").jobs == []
    # A setting that changed as well is seen by the check, which comes first.
    assert "annotate" in workflow.plan(*check, config=changed({"annotation.k": 8})).rules
