"""Status lines during a run. In: the records of Snakemake's logger. Out: on a terminal, a live line for each stage that
runs, in the place of Snakemake's blocks of jobs; elsewhere, beside what Snakemake says, a line now and then.

This is a handler on Snakemake's logger, added as the first job starts, and not one of Snakemake's logger plugins: a
plugin has to be named in a profile, and a Snakemake that lacks it then refuses every command. So dry runs and lists
print what they always did; --quiet and --verbose switch the live lines off, as does a logger plugin that a user names.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from snakemake_interface_logger_plugins.common import LogEvent

from mmprm.runtime.log import log, write_line
from mmprm.runtime.progress import duration
from mmprm.workflow.terminal.board import Board, JobState, StageState

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

LOOK_SECONDS = 1.0  # between two looks at the logs
LINE_SECONDS = 30.0  # between two lines of a stage where there is no terminal

# What Snakemake says of jobs, which a stage's line says more shortly. All of it is in .snakemake/log.
_SHOWN_AS_STAGES = {
    *(LogEvent.JOB_INFO, LogEvent.JOB_STARTED, LogEvent.JOB_FINISHED, LogEvent.JOB_ERROR, LogEvent.SHELLCMD),
    *(LogEvent.GROUP_INFO, LogEvent.GROUP_ERROR, LogEvent.PROGRESS),
}


class StatusLines(logging.Handler):
    """Keeps a board of the run and shows it until it is closed."""

    def __init__(self, board: Board, line_seconds: float = LINE_SECONDS) -> None:
        """line_seconds: the least time between two lines of a stage where there is no terminal."""
        super().__init__()
        self.board = board
        self.line_seconds = line_seconds
        self._written: dict[str, float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="status-lines", daemon=True)

    def start(self) -> None:
        """Begin to look at the jobs' logs."""
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Note what Snakemake says."""
        try:
            ended = self.board.take(record)
            if isinstance(ended, StageState):
                self.show_done(ended)
            elif ended is not None:
                self.show_failed(ended)
        except Exception:  # as every handler does: what is shown must not end a run
            self.handleError(record)

    def close(self) -> None:
        """Stop showing anything; it may be called twice."""
        self._ended.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(10)  # it may wait for a file system that does not answer
        super().close()

    def _watch(self) -> None:
        while not self._ended.wait(min(LOOK_SECONDS, self.line_seconds)):
            self.board.read_logs()
            self.show()

    def show_done(self, stage: StageState) -> None:
        """Show that a stage has ended: here, Snakemake's own lines say it."""

    def show_failed(self, job: JobState) -> None:
        """Show that a job has failed, which may be started again: here, Snakemake's own lines say it."""

    def show(self) -> None:
        """Write a line for each stage of which the last is old enough."""
        now = self.board.clock()
        for stage in self.board.active:
            if now - self._written.setdefault(stage.name, stage.started) >= self.line_seconds:
                self._written[stage.name] = now
                log.info(f"{stage.name}: {', '.join(in_words(stage, now))}")


def in_words(stage: StageState, now: float) -> list[str]:
    """Return what is known of a running stage: items and jobs done, rates, time since its start, time left."""
    jobs = f"{stage.finished} of {stage.total} jobs done" if stage.total > 1 else ""
    parts = [stage.count, jobs, stage.waiting(), stage.rates, f"running for {duration(now - stage.started)}"]
    return [part for part in [*parts, stage.left(now)] if part]


class LiveLines(StatusLines):
    """The same on a terminal: live lines below everything else."""

    def __init__(self, board: Board, snakemake: logging.Handler, no_color: bool = False) -> None:
        """snakemake: the handler through which Snakemake writes to the terminal."""
        super().__init__(board)
        from rich.console import Console
        from rich.live import Live

        self._file = os.fdopen(os.dup(2), "w", buffering=1, errors="replace")
        self.console = Console(file=self._file, force_terminal=True, no_color=no_color or None, highlight=False)
        self._live = Live(
            console=self.console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._snakemake = snakemake
        # Snakemake, the jobs' shells and print() would write into the live lines.
        self._diverted = [_Diverted(descriptor, self.console) for descriptor in (1, 2) if os.isatty(descriptor)]

    def start(self) -> None:
        self._snakemake.addFilter(_not_of_jobs)
        self._live.start()
        super().start()

    def close(self) -> None:
        open_still = not self._ended.is_set()
        super().close()
        if open_still:
            for diverted in self._diverted:
                diverted.close()
            self._live.stop()
            self._snakemake.removeFilter(_not_of_jobs)

    def show_done(self, stage: StageState) -> None:
        if not any(job.logs for job in stage.jobs.values()):
            return  # a target, which does nothing itself
        jobs = f"{stage.total} job{'s' * (stage.total > 1)}"
        took = duration(self.board.clock() - stage.started)
        # To where Snakemake writes, for what it says to keep its place.
        write_line(f"\x1b[32m✓\x1b[0m {stage.name:<24} {jobs:>9}  {took:>7}  \x1b[2m{stage.count}\x1b[0m")

    def show_failed(self, job: JobState) -> None:
        write_line(f"\x1b[31m✗\x1b[0m {job.name} failed: {' '.join(map(str, job.logs))}")

    def show(self) -> None:
        # Rich asks 0, 1 and 2, which may all lead elsewhere.
        from rich.console import ConsoleDimensions

        self.console.size = ConsoleDimensions(*os.get_terminal_size(self._file.fileno()))
        self._live.update(picture(self.board), refresh=True)


def picture(board: Board) -> RenderableType:
    """Return the lines of a board for rich: one for each running stage, and the run's."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    now = board.clock()
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1, style="dim")
    table.add_column(no_wrap=True, justify="right")
    for stage in board.active:
        share = stage.share
        name = f"{stage.name} {stage.finished}/{stage.total}" if stage.total > 1 else stage.name
        bar = "" if share is None else ProgressBar(total=1.0, completed=share, width=20)
        state = ", ".join(part for part in (stage.waiting(), stage.rates) if part)
        times = stage.left(now) or f"{duration(now - stage.started)}"
        table.add_row(Text(name, "bold"), bar, stage.count, Text(state), times)
    done, total = board.jobs
    running = sum(len(stage.running) for stage in board.active)
    return Group(
        table, Text(f"{done} of {total} jobs done, {running} running, {duration(now - board.started)} so far", "dim")
    )


def _not_of_jobs(record: logging.LogRecord) -> bool:
    """Tell whether Snakemake's own words are shown while live lines are."""
    return getattr(record, "event", None) not in _SHOWN_AS_STAGES and record.msg != "Select jobs to execute..."


class _Diverted:
    """What this process and its jobs write to a descriptor of the terminal, printed above the live lines."""

    def __init__(self, descriptor: int, console: Console) -> None:
        self._descriptor, self._saved = descriptor, os.dup(descriptor)
        self._source, pipe = os.pipe()
        os.dup2(pipe, descriptor)
        os.close(pipe)
        self._thread = threading.Thread(target=self._print, args=(console,), name="print-above", daemon=True)
        self._thread.start()

    def _print(self, console: Console) -> None:
        from rich.text import Text

        with os.fdopen(self._source, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                console.print(Text.from_ansi(line.rstrip("\n")), soft_wrap=True)

    def close(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os.dup2(self._saved, self._descriptor)
        os.close(self._saved)
        self._thread.join(1)  # not for long: a process that outlives its job keeps the pipe open


def show_status(totals: dict[str, int], settings: Any, line_seconds: float = LINE_SECONDS) -> StatusLines | None:
    """Show a run from now on, unless it is to be quiet; returns what to close at its end.

    totals: the number of jobs of each rule; settings: Snakemake's OutputSettings.
    """
    if {"ALL", "PROGRESS"} & {about.name for about in settings.quiet or ()}:
        return None
    logger = logging.getLogger("snakemake.logging")
    # A logger plugin that writes to the terminal leaves no such handler.
    own = [handler for handler in logger.handlers if handler.name == "DefaultStreamHandler"]
    if own and is_terminal() and not (settings.verbose or settings.debug_dag):
        lines: StatusLines = LiveLines(Board(totals), own[0], settings.nocolor)
    else:
        lines = StatusLines(Board(totals), line_seconds)
    logger.addHandler(lines)  # Snakemake closes it, however the run ends
    lines.start()
    return lines


def is_terminal() -> bool:
    """Tell whether stderr is a terminal that can move its cursor."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
