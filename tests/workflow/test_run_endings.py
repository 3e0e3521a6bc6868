"""The last words of a run: the report's headline, or what failed and what to do."""

from __future__ import annotations

import html
import re
import sys
from pathlib import Path

import pytest
import report_example
from status_records import failed, finished, record, started

from mmprm.config import load
from mmprm.report.headline import headline
from mmprm.report.page import render
from mmprm.workflow.terminal import endings
from mmprm.workflow.terminal.board import Board


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report_example.build(tmp_path_factory.mktemp("run") / "results/example")


@pytest.fixture
def board() -> Board:
    made = Board({"annotate": 1, "write_report": 1}, lambda: 1000.0)
    made.take(started(1, "annotate", Path("results/example/logs/annotate/0-of-1.log"), shard="0-of-1"))
    return made


@pytest.fixture(autouse=True)
def called_as(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    words = [".venv/bin/snakemake", "annotation", "--cores", "2", "--config", "sampling={temperature: 1.3}"]
    monkeypatch.setattr(sys, "argv", [str(tmp_path / words[0]), *words[1:]])
    return tmp_path


def test_the_headline_is_that_of_the_report(results: Path) -> None:
    config = report_example.settings()
    said = headline(config, results)
    page = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", render(config, results))).split())
    numbers = re.findall(r"[−+]?\d+\.\d", " ".join(said))
    assert len(numbers) > 10 and not [number for number in numbers if number not in page]
    findings = [line.partition(" points")[2].partition(". ")[2] for line in said if line.startswith("    ")]
    assert findings and all(finding in page for finding in findings)
    named = sum(f", PRM {name} (one training): best of " in line for line in said for name in config.prm.variants)
    assert named == page.count("random pick ") - page.count("a random pick ") > 0


def test_a_run_that_ended_well_names_the_report_and_what_comes_next(
    board: Board, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(results.parents[1])
    (results / "report.html").write_text("")
    board.take(finished(1))
    lines = endings.success(report_example.settings(), {"annotate", "write_report"}, board, {"annotation"})
    assert lines[0] == "example: 1 job done in 0 s"
    assert headline(report_example.settings(), results)[0] in [line.strip() for line in lines]
    assert "  report  results/example/report.html" in lines
    text = "\n".join(lines)
    assert "open results/example/report.html" in text and "docs/your-data.md" in text
    assert "'sampling={temperature: 1.3}' --report example.zip" in text and " annotation " not in text


def test_a_run_up_to_a_stage_names_the_command_that_goes_on(board: Board) -> None:
    lines = endings.success(report_example.settings(), {"annotate"}, board, {"annotation"})
    assert lines[1:] == [
        "  files   results/example/",
        "  next    .venv/bin/snakemake --cores 2 --config 'sampling={temperature: 1.3}'     up to the report",
    ]


def test_a_look_at_a_sealed_test_asks_for_its_line_to_be_committed(board: Board) -> None:
    values = report_example.settings().model_dump(mode="json")
    mini = {"kind": "mini", "split": "sealed", "size": 8, "families": ["bars"]}
    values["sources"]["sealed"], values["sealed"] = mini, {"once": {"source": "sealed"}}
    lines = endings.success(load(values), {"write_sealed"}, board, {"sealed"})
    assert "  sealed  results/example/sealed/once.html" in lines
    assert any("git add evidence/ledger.jsonl && git commit" in line for line in lines)


def test_a_damaged_summary_does_not_end_a_run_that_ended_well(board: Board, called_as: Path) -> None:
    folder = called_as / "results/example"
    (folder / "bench").mkdir(parents=True)
    (folder / "report.html").write_text("")
    (folder / "bench/summary.json").write_text("{")
    lines = endings.success(report_example.settings(), {"write_report"}, board, ())
    assert any("bench/summary.json: not JSON" in line for line in lines)


def fail(board: Board, folder: Path, *lines: str, cluster: str = "") -> str:
    log = folder / "0-of-1.log"
    log.write_text("".join(f"{line}\n" for line in lines))
    logs = [log]
    if cluster:
        (folder / "slurm.log").write_text(cluster)
        logs.append(folder / "slurm.log")
    board.take(failed(1, "annotate", *logs))
    return "\n".join(endings.failure(board))


def test_a_failure_shows_the_end_of_the_log_and_how_to_go_on(board: Board, called_as: Path) -> None:
    progress = [f"mmprm: annotation 0-of-1: {done} of 400 problems" for done in range(300)]
    early = [f"line {number}" for number in range(20)]
    said = fail(board, called_as, *early, *progress, "mmprm annotate: seeds.parquet is empty; sample again")
    assert "annotate (shard 0-of-1)\n  log  " in said
    assert "  | line 19\n  | mmprm annotate: seeds.parquet is empty; sample again\n" in said
    assert "line 5\n" not in said and "of 400 problems" not in said
    assert "continue with    .venv/bin/snakemake annotation --cores 2 --config 'sampling={temperature: 1.3}'" in said


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        # PyTorch 2.8, slurmstepd, Linux and bash, as they write them.
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.", "training.micro_batch_size"),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch.", "--set-resources annotate:mem_mb="),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-11-28 DUE TO TIME LIMIT ***", "annotate:runtime="),
        ("mmprm annotate: seeds.parquet is empty; sample again", "what to do: mend what the log's last lines say"),
        ("mmprm: annotation 0-of-1: the journal holds 7 finished requests", "it was killed from outside"),
    ],
)
def test_known_causes_have_a_remedy(board: Board, called_as: Path, line: str, remedy: str) -> None:
    assert remedy in fail(board, called_as, line)


def test_what_only_the_cluster_knows_is_shown_too(board: Board, called_as: Path) -> None:
    said = fail(board, called_as, cluster="slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch.\n")
    assert "0-of-1.log (empty)" in said and "  | slurmstepd: error: Detected" in said
    assert "annotate:mem_mb=" in said


def test_an_interrupted_run_says_how_to_go_on_and_blames_no_job(board: Board, called_as: Path) -> None:
    board.take(record(None, "Terminating processes on user request, this might take some time."))
    said = fail(board, called_as, "whatever")
    assert said.startswith("The run was interrupted.\n\ncontinue with    .venv/bin/snakemake annotation")
    assert "kept" in said and "whatever" not in said


def test_a_command_that_python_was_given_is_written_as_a_person_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/x/site-packages/snakemake/__main__.py", "--cores", "2"])
    assert endings.command() == f"{Path(sys.executable).parent}/snakemake --cores 2"
