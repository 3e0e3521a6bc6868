"""A run elsewhere is known by what its jobs leave in its folder, in which watching writes nothing."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from snake import Workflow, changed, small_config
from typer.testing import CliRunner

from mmprm import config as configuration
from mmprm.cli import app
from mmprm.config import Config
from mmprm.workflow.terminal.watch import RunState, expected_jobs, in_words, look

NOW = 1_800_000_000.0
# As runs of configs/ci.yaml and of real problems wrote them.
SEARCH = (
    "mmprm: annotation {}-of-2: {} of 100 problems, {} rollouts/s, 2100 tokens/s, mean batch 64, "
    "71% of prompt tokens cached, {} left"
)
DISK = "mmprm annotate: results/a/work/annotation: No space left on device: make room and run again"
TSV = "s\th:m:s\tmax_rss\n{}\t0:00:01\t100\n"


class Folder:
    """A run's folder as its jobs leave it at NOW; ages are seconds before that."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config: Config = configuration.load(changed({"run": path.name}))
        path.mkdir(parents=True)
        (path / "config.json").write_text(self.config.model_dump_json(indent=2) + "\n")

    def _write(self, path: Path, text: str, age: float) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (NOW - age, NOW - age))

    def log(self, job: str, *lines: str, age: float = 0.0) -> None:
        self._write(self.path / "logs" / f"{job}.log", "".join(f"{line}\n" for line in lines), age)

    def done(self, job: str, seconds: float, *lines: str, age: float = 0.0) -> None:
        self.log(job, *lines, age=age + 0.5)
        self._write(self.path / "benchmarks" / f"{job}.tsv", TSV.format(seconds), age)

    def state(self) -> RunState:
        return look(self.config, self.path, NOW)

    def line(self, stage: str) -> str:
        return next(" ".join(line.split()) for line in in_words(self.state()) if line.split()[:1] == [stage])


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "results" / "a")


def test_shards_are_one_line_with_what_they_have_done_their_rates_and_the_time_left(folder: Folder) -> None:
    folder.log("annotate/0-of-2", "a warning", SEARCH.format(0, 30, 40, "6 min"))
    folder.log("annotate/1-of-2", SEARCH.format(1, 20, 30, "12 min"))
    folder.done("sample_seeds/0-of-1", 70, "mmprm: seeds: 24 of 24 problems, 9 rollouts/s, 0 s left", age=700)
    assert folder.line("annotate") == "annotate 0/2 50 of 200 problems, 70 rollouts/s, 4200 tokens/s, 12 min left"
    assert folder.line("sample_seeds") == "sample_seeds 1/1 70 s 24 of 24 problems"
    assert "2 running, last written to 0 s ago" in in_words(folder.state())[0]


def test_what_is_to_come_is_named_and_counted_in_the_time_left(folder: Folder) -> None:
    folder.config = configuration.load(changed({"run": "a", "shards.annotation": 4}))
    folder.done("annotate/0-of-4", 600, age=100)
    assert folder.line("to").startswith("to come: train_policy 1, sample_seeds 1,")
    folder.log("annotate/1-of-4", SEARCH.format(1, 50, 30, "5 min"))
    # Two more shards of ten minutes each, one after the other.
    assert re.search(
        r"^annotate 1/4 50 of 100 problems, 30 rollouts/s, .*, about 25 min left$", folder.line("annotate")
    )
    folder.log("train_prm/soft")
    assert folder.line("train_prm") == "train_prm 0/2 1 waiting"


def test_a_failure_is_shown_with_its_last_lines_and_what_to_do(folder: Folder) -> None:
    folder.log("annotate/0-of-2", SEARCH.format(0, 30, 40, "6 min"), DISK, age=60)
    folder.log("train_prm/soft", "Traceback (most recent call last):", '  File "a.py"', "ValueError: bad value", age=60)
    folder.log(
        "train_prm/slow", "ValueError: of an attempt, and", "mmprm: prm slow: 3 of 7 updates, 1 updates/s, 4 s left"
    )
    state = folder.state()
    assert [job.name for job in state.failures] == ["annotate (0-of-2)", "train_prm (soft)"]
    text = "\n".join(in_words(state))
    assert f"| {DISK}" in text and "what to do: the disk is full. Nothing that was finished is lost" in text
    assert "ValueError: bad value" in text and "mend what the log's last lines say" in text
    assert folder.line("annotate").endswith("1 failed") and folder.line("train_prm").startswith("train_prm 0/2 3 of 7")


def test_a_job_that_was_started_again_is_not_done_by_its_former_end(folder: Folder) -> None:
    folder.done("train_policy", 60, age=3600)
    assert folder.state().jobs[0] == 1
    folder.log("train_policy", "mmprm: policy: 4 of 80 updates, loss 0.4, 0.12 updates/s, 6 min left", age=4)
    state = folder.state()
    assert state.jobs[0] == 0 and folder.line("train_policy").endswith("6 min left")


def test_a_run_that_nobody_continues_is_said_to_be_silent(folder: Folder) -> None:
    folder.log("train_policy", "mmprm: policy: 4 of 80 updates", age=1800)
    text = "\n".join(in_words(folder.state()))
    assert "quiet for 30 min" in text and "Nothing writes to this folder" in text
    journal = folder.path / "work/annotation/a.jsonl"
    folder._write(journal, "{}", 10)
    text = "\n".join(in_words(folder.state()))
    assert "last written to 10 s ago" in text and "Nothing writes" not in text


def test_an_empty_folder_and_torn_files_are_no_error(folder: Folder) -> None:
    assert (
        in_words(folder.state())[0]
        == f"a: 0 of {sum(expected_jobs(folder.config, folder.path).values())} jobs done, 0 running"
    )
    folder.log("annotate/0-of-2", "mmprm: \x1b[31mannotation\x1b[0m\x07: odd \x00 words")
    folder._write(folder.path / "benchmarks/annotate/0-of-2.tsv", "s\th:m:s\n", 0)
    folder._write(folder.path / "benchmarks/annotate/1-of-2.tsv", "", 0)
    folder.log("annotate/1-of-2")
    lines = in_words(folder.state())
    assert not re.search(r"[\x00-\x08\x1b]", "\n".join(lines))


def test_the_verb_reads_a_shared_folder_and_writes_nothing(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.done("train_policy", 60)
    (folder.path / "report.html").write_text("x")
    before = {path: path.stat().st_mtime_ns for path in folder.path.parent.rglob("*")}
    monkeypatch.chdir(folder.path.parent.parent)
    for name in ("a", "results/a", str(folder.path)):
        result = CliRunner().invoke(app, ["watch", name])
        assert result.exit_code == 0 and "train_policy" in result.stdout and "The report is there" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in folder.path.parent.rglob("*")} == before
    assert CliRunner().invoke(app, ["watch", "nothing"]).exit_code == 2


@pytest.mark.parametrize("changes", [{}, {"shards.bench": 2, "shards.seeds": 3}])
def test_as_many_jobs_are_expected_as_snakemake_plans(changes: dict[str, Any], tmp_path: Path) -> None:
    workflow = Workflow(tmp_path / "here")
    planned = workflow.run("-n", "all", config=changed(changes))
    counts = dict(re.findall(r"^(\w+) +(\d+)$", planned.stdout + planned.stderr, re.MULTILINE))
    config = configuration.load(changed(changes) | {"run": small_config()["run"]})
    expected = expected_jobs(config, Path("results") / config.run)
    assert {name: int(counts[name]) for name in expected} == expected
