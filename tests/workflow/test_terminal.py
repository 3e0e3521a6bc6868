"""What a run shows: Snakemake itself, on a terminal and off it, with jobs that go on when the test says so."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from on_terminal import OnTerminal
from snake import ROOT, Workflow, changed
from snakemake.settings.enums import Quietness
from snakemake.settings.types import OutputSettings
from waiting import wait_for

from mmprm.workflow.terminal import status_lines

POOL = "results/small/problems/ood.parquet"

# Two shards of one stage and a job that prints; all wait for a file. `onstart` and so on are as in the project.
SNAKEFILE = """
import os
from collections import Counter
from mmprm.workflow.terminal import endings, status_lines

onstart:
    counts = Counter(job.rule.name for job in workflow.dag.needrun_jobs())
    globals()["status"] = status_lines.show_status(counts, workflow.output_settings, line_seconds=0.1)
onsuccess:
    status.close()
    endings.say([f"{status.board.jobs[0]} jobs done"], "bold green")
onerror:
    status.close()
    endings.say(endings.failure(status.board), "bold red")

rule all:
    input: "0-of-2.tree", "1-of-2.tree", "plan"
rule plan:
    output: "plan"
    log: "plan.log"
    shell: "until [ -e go ]; do sleep 0.1; done; echo 'the plan: 7000 rollouts'; echo 'a warning of the shell' >&2;"
        " touch {output} 2> {log}"
rule annotate:
    output: "{shard}.tree"
    log: "logs/{shard}.log"
    shell: "(echo 'mmprm: annotation {wildcards.shard}: 30 of 80 problems, 50 rollouts/s, at most 3 min left';"
        " until [ -e go ]; do sleep 0.1; done; [ ! -e fail ] ||"
        " {{ echo 'mmprm annotate: the policy is missing; train it again'; exit 2; }}; touch {output}) > {log} 2>&1"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    return tmp_path


SHARDS = ["-m", "snakemake", "--cores", "4", "--quiet", "host"]


def command(*more: str) -> list[str]:
    return [sys.executable, *SHARDS, *more]


def test_a_terminal_shows_a_live_line_a_stage_below_all_else(folder: Path) -> None:
    with OnTerminal(command(), folder) as run:
        line = run.wait_for("annotate 0/2 .*60 of 160 .*left\n")[0]
        assert re.fullmatch(r"annotate 0/2 +━[━╸╺]+ +60 of 160 problems +100 rollouts/s +3 min left\n", line)
        assert len(line.rstrip("\n")) == 120  # as wide as the terminal, though stdin is none
        (folder / "go").touch()
        assert run.end() == 0
    assert re.search(r"✓ annotate +2 jobs +\d+ (s|min) +160 of 160 problems\n", run.text)
    assert run.raw.count("\x1b[?25l") == run.raw.count("\x1b[?25h") == 1  # the cursor is hidden and shown again
    # What jobs and their shells print are whole lines of their own: nothing was drawn over them.
    assert {"the plan: 7000 rollouts", "a warning of the shell"} <= set(run.text.splitlines())
    assert "localrule annotate:" not in run.text and "Finished jobid" not in run.text  # the line says it
    assert "\n4 jobs done\n" in run.text
    kept = next((folder / ".snakemake/log").glob("*.log")).read_text()
    assert "localrule annotate:" in kept and "Finished jobid" in kept


def test_a_failure_on_a_terminal_ends_with_the_log_and_what_to_do(folder: Path) -> None:
    (folder / "fail").touch()
    (folder / "go").touch()
    with OnTerminal(command("--keep-going"), folder, columns=80) as run:
        assert run.end() == 1
    assert "✗ annotate (shard 0-of-2) failed: logs/0-of-2.log" in run.text
    ending = run.text.partition("2 jobs failed.\n")[2]
    for shard in ("0-of-2", "1-of-2"):
        assert f"annotate (shard {shard})\n  log  logs/{shard}.log\n  | mmprm annotate: the policy is missing" in ending
    words = " ".join(ending.split())
    assert re.search(r"continue with \S*/snakemake --cores 4 --quiet host --keep-going", words)


def test_an_interrupted_run_leaves_the_terminal_as_it_was(folder: Path) -> None:
    with OnTerminal(command(), folder) as run:
        run.wait_for("3 running")
        os.killpg(run.process.pid, signal.SIGINT)  # as Ctrl-C does
        assert run.end() == 1
    assert "The run was interrupted." in run.text and "continue with" in run.text
    assert run.raw.rindex("\x1b[?25h") > run.raw.rindex("\x1b[?25l")


def test_off_a_terminal_snakemake_speaks_and_progress_is_a_line_now_and_then(folder: Path) -> None:
    with (folder / "said").open("w") as file:
        run = subprocess.Popen(command(), cwd=folder, stdout=file, stderr=file)
    said = folder / "said"
    line = "mmprm: annotate: 60 of 160 problems, 0 of 2 jobs done, 100 rollouts/s, running for "
    wait_for(lambda: line in said.read_text(), "a line of progress", run, said)
    (folder / "go").touch()
    assert run.wait() == 0
    text = said.read_text()
    assert "\x1b" not in text and "localrule annotate:" in text and "\n4 jobs done\n" in text


@pytest.mark.parametrize("quiet", [{Quietness.PROGRESS}, {Quietness.RULES, Quietness.PROGRESS}, {Quietness.ALL}])
def test_a_quiet_run_shows_nothing(quiet: set[Quietness]) -> None:
    assert status_lines.show_status({"annotate": 1}, OutputSettings(quiet=quiet)) is None


@pytest.mark.parametrize("settings", [OutputSettings(verbose=True), OutputSettings(debug_dag=True)])
def test_who_wants_all_that_snakemake_says_gets_it(monkeypatch: pytest.MonkeyPatch, settings: OutputSettings) -> None:
    monkeypatch.setattr(status_lines, "is_terminal", lambda: True)
    logger, stream = logging.getLogger("snakemake.logging"), logging.NullHandler()
    stream.name = "DefaultStreamHandler"
    monkeypatch.setattr(logger, "handlers", [stream])
    shown = status_lines.show_status({"annotate": 1}, settings)
    assert shown is not None
    shown.close()
    assert type(shown) is status_lines.StatusLines and not stream.filters


def test_a_dry_run_on_a_terminal_prints_what_it_prints_elsewhere(workflow: Workflow) -> None:
    dry = workflow.command(POOL, "-n", "-F", "-p")
    with OnTerminal(dry, workflow.folder) as run:
        assert run.end() == 0
    plain = workflow.call(dry)
    jobs = [text.partition("Building DAG")[2] for text in (run.text, plain.stderr + plain.stdout)]
    jobs = [re.sub(r"^\[.*\]$", "", text, flags=re.M) for text in jobs]  # the time of day
    assert sorted(jobs[0].split()) == sorted(jobs[1].split())
    assert "mmprm intake" in plain.stdout


def test_a_stage_of_the_project_ends_with_the_command_that_goes_on(workflow: Workflow) -> None:
    done = workflow.run(POOL)
    assert done.returncode == 0, done.stderr
    ending = r"\nsmall: 1 job done in \d+ (s|min)\n  files   results/small/\n  next    \S+/snakemake "
    assert re.search(ending, done.stderr) and "up to the report" in done.stderr


def test_a_stage_of_the_project_that_fails_says_why_at_the_end(workflow: Workflow) -> None:
    table = workflow.folder / "mine.jsonl"
    table.write_text('{"question": "1 + 1?", "answer": "2"}\n')
    mine = {"sources.mine": {"kind": "table", "path": str(table)}, "benchmarks": {"mine": {"source": "mine"}}}
    mine["preflight"] = "warn"  # else its columns are looked at before the job
    done = workflow.run("results/small/problems/mine.parquet", config=changed(mine))
    assert done.returncode == 1
    ending = done.stderr.partition("1 job failed.\n")[2]
    assert "intake (source mine)\n  log  results/small/logs/intake/mine.log\n  | mmprm intake: " in ending
    assert "there is no column 'id'" in ending and "set `columns: {ours: theirs}` of the source\n" in ending
    assert "mend what the log's last lines say" in ending and "continue with " in ending


def test_a_logger_plugin_that_the_user_names_is_left_alone(folder: Path) -> None:
    plugin = folder / "plugins/snakemake_logger_plugin_own"
    plugin.mkdir(parents=True)
    (plugin / "__init__.py").write_text(
        "import sys\n"
        "from snakemake_interface_logger_plugins.base import LogHandlerBase\n"
        "class LogHandler(LogHandlerBase):\n"
        "    writes_to_stream, writes_to_file, has_filter, has_formatter, needs_rulegraph = True, False, 1, 1, False\n"
        "    def emit(self, record):\n"
        "        print('own:', getattr(record, 'event', None), file=sys.stderr, flush=True)\n"
    )
    (folder / "go").touch()
    path = os.pathsep.join([str(plugin.parent), str(ROOT / "src")])
    with OnTerminal(command("--logger", "own"), folder, PYTHONPATH=path) as run:
        assert run.end() == 0
    assert "own: job_finished" in run.text and "✓" not in run.text and "\n4 jobs done\n" in run.text
