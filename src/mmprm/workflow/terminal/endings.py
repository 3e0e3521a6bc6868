"""The last words of a run. In: its board, its configuration. Out: the headline and the report, or what failed and why.

Both end with the next command, written as this one was called.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from mmprm.config import Config
from mmprm.runtime.errors import UserError
from mmprm.runtime.progress import duration, read_progress
from mmprm.workflow.terminal.board import Board, JobState
from mmprm.workflow.terminal.log_ends import last_lines

_LINES = 15  # of a failing job's log
_WINDOW = 200_000  # bytes in which they are looked for, among lines of progress
_JOBS = 3  # failing jobs of which the log is shown

# What a message of ours says, it says with the remedy. Of these, others speak.
_REMEDIES = {
    r"CUDA out of memory|torch\.OutOfMemoryError|CUDA error: out of memory": "the GPU's memory is full. Lower "
    "training.micro_batch_size, engine.max_running or engine.kv_cache_gib: none of them changes a result.",
    r"(?i)oom.?kill|MemoryError|out of memory": "memory is full. Let fewer jobs run at once (--cores), or "
    "request more on a cluster: --set-resources {stage}:mem_mb=...",
    r"No space left on device|Disk quota exceeded": "the disk is full. Nothing that was finished is lost: make room.",
    r"DUE TO TIME LIMIT": "the job's time ran out. It goes on where it was; "
    "--set-resources {stage}:runtime=... gives it more.",
}
_SAYS_WHY = r"(?im)^mmprm [\w-]+: |error|exception|traceback"
_NO_CAUSE = "its log names no error: it was killed from outside, most often because memory ran out."


def success(config: Config, made: Collection[str], board: Board, targets: Collection[str]) -> list[str]:
    """Return the last lines of a run that ended well.

    made: the rules that the targets needed, finished before or not; targets: as they were named on the command line.
    """
    folder = Path("results") / config.run
    report = folder / "report.html"
    done = board.jobs[0]
    lines = [f"{config.run}: {done} job{'s' * (done != 1)} done in {duration(board.clock() - board.started)}"]
    if "write_sealed" in made:
        lines += [f"  sealed  {folder}/sealed/{name}.html" for name in config.sealed]
        lines += [f"          git add {config.evidence.ledger} && git commit     the look is on record when this is"]
    if "write_report" not in made or not report.is_file():
        rest = command(leave_out=targets)
        return [*lines, f"  files   {folder}/", f"  next    {rest}     up to the report"]
    lines += [f"  {line}" for line in _headline(config, folder)]
    lines += [f"  report  {report}", f"  next    {opener()} {report}"]
    lines += [f"          {command(leave_out=targets)} --report {config.run}.zip     to share it, with run times"]
    return [*lines, "          your own problems and model: docs/your-data.md"]


def _headline(config: Config, folder: Path) -> list[str]:
    from mmprm.report.headline import headline

    try:
        return headline(config, folder)
    except UserError as error:
        return [str(error)]


def failure(board: Board) -> list[str]:
    """Return the last lines of a run that did not end well: what failed, the ends of the logs, and how to go on."""
    failures = board.failures
    if board.interrupted:
        failures = []
        lines = ["The run was interrupted."]
    elif failures:
        lines = [f"{len(failures)} job{'s' * (len(failures) > 1)} failed."]
    else:  # such as an output that is missing, of which Snakemake speaks itself
        lines = ["The run has failed; the error stands above."]
    for job in failures[:_JOBS]:
        lines += ["", *of_job(job)]
    if len(failures) > _JOBS:
        lines += ["", "and " + ", ".join(job.name for job in failures[_JOBS:])]
    kept = "what was finished is kept, and what was begun goes on from its checkpoint or journal"
    return [*lines, "", f"continue with    {command()}", f"                 ({kept})"]


def of_job(job: JobState) -> Iterator[str]:
    """Yield what is said of a job that failed: its name, the ends of its logs, what to do."""
    yield job.name
    found = ""
    for log in job.logs:
        lines = [line for line in last_lines(log, window=_WINDOW) if read_progress(line) is None][-_LINES:]
        found += "\n".join(lines) + "\n"
        yield f"  log  {log}" + ("" if lines else " (empty)")
        yield from (f"  | {line}" for line in lines)
    yield f"  what to do: {remedy(job.stage, found)}"


def remedy(stage: str, log: str) -> str:
    """Return what to do about a failure whose log ends so; stage: the rule."""
    for pattern, text in _REMEDIES.items():
        if re.search(pattern, log):
            return text.replace("{stage}", stage)
    return "mend what the log's last lines say." if re.search(_SAYS_WHY, log) else _NO_CAUSE


def command(leave_out: Collection[str] = ()) -> str:
    """Return the command line of this run, fit to be pasted, without the words that are to be left out."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":  # python -m snakemake
        program = Path(sys.executable).parent / "snakemake"
    here = os.path.relpath(program)
    shown = here if not here.startswith("..") else str(program)
    return shlex.join([shown, *(word for word in sys.argv[1:] if word not in leave_out)])


def opener() -> str:
    """Return the command that shows a page on this system."""
    return "open" if sys.platform == "darwin" else "xdg-open"


def say(lines: Sequence[str], style: str) -> None:
    """Print the last lines of a run on stderr; style: rich's, of the first line on a terminal."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False, no_color="--nocolor" in sys.argv or None)
    text = Text("\n").join([Text(), Text(lines[0], style), *map(Text, lines[1:]), Text()])
    console.print(text, soft_wrap=True)
