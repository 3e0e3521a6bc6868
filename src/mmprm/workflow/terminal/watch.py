"""A run that goes on elsewhere. In: nothing but its folder, which may be shared. Out: stages, failures, time left.

A job's log and the file of its time (benchmarks/) have the same place below their folders: a job is done once the
second is there and its log is no newer. Of the others the log says what it says to the status lines of a run: the last
line of progress, or the error that it ends with.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mmprm.config import Config
from mmprm.report.results import STAGES, shard_names
from mmprm.runtime.progress import duration, read_progress
from mmprm.workflow.terminal.board import JobState, StageState
from mmprm.workflow.terminal.endings import of_job
from mmprm.workflow.terminal.log_ends import last_lines, last_progress

_SKEW = 5.0  # seconds by which a job's log may be newer than the file of its time
_QUIET = 120.0  # seconds without a line after which a job is said to be quiet; lines of progress come every ten
_DEAD = 900.0  # seconds without a trace after which a run may have ended
# How a job ends that failed: our own message, a traceback's last line, what a shell or a cluster says.
_ENDS = re.compile(
    r"mmprm [\w-]+: |[\w.]*(Error|Exception|Interrupt|Exit)\b|Killed|Terminated|slurmstepd: error|Segmentation fault"
)


@dataclass
class RunState:
    """What a run's folder says of it at a time (seconds since the epoch)."""

    run: str
    now: float
    stages: list[StageState]
    quiet: dict[str, float] = field(default_factory=dict)  # a running job's name -> seconds since its log's last line
    last_trace: float | None = None
    report: Path | None = None

    @property
    def jobs(self) -> tuple[int, int]:
        """How many jobs are done, and how many there are."""
        return sum(stage.finished for stage in self.stages), sum(stage.total for stage in self.stages)

    @property
    def failures(self) -> list[JobState]:
        """The jobs whose last attempt failed."""
        return [job for stage in self.stages for job in stage.jobs.values() if job.failed]

    @property
    def ended(self) -> bool:
        """Whether the report is there and nothing runs."""
        return self.report is not None and not any(stage.running for stage in self.stages)


def look(config: Config, folder: Path, now: float) -> RunState:
    """Read the state of the run from its folder."""
    wanted = expected_jobs(config, folder)
    stages = {name: StageState(name, total) for name, total in wanted.items()}
    state = RunState(config.run, now, [])
    for log in sorted((folder / "logs").rglob("*.log")):
        place = log.relative_to(folder / "logs").with_suffix("")
        job = _job(place, log, folder / "benchmarks" / place.with_suffix(".tsv"))
        if job is None:
            continue
        stage = stages.setdefault(job.stage, StageState(job.stage, 0))
        stage.jobs[len(stage.jobs)] = job
        stage.total = max(stage.total, len(stage.jobs))
        if job.ended is None and not job.failed:
            state.quiet[job.name] = max(0.0, now - job.started)
    known = ("fetch", "intake", "curate", "tag", *STAGES)
    order = {name: rank for rank, name in reversed(list(enumerate(known)))}
    state.stages = sorted(stages.values(), key=lambda stage: (order.get(stage.name, len(order)), stage.name))
    state.last_trace = max(_times(folder), default=None)
    report = folder / "report.html"
    state.report = report if report.is_file() else None
    return state


def _job(place: Path, log: Path, timing: Path) -> JobState | None:
    """Return a job by its log; `started` of one that is not done is when its log was last written.

    None where the log goes away meanwhile.
    """
    stage, wildcards = place.parts[0], " ".join(place.parts[1:])
    try:
        written = log.stat().st_mtime
        seconds = _seconds(timing)
        ended = timing.stat().st_mtime if seconds is not None else None
    except OSError:
        return None
    if ended is not None and seconds is not None and written <= ended + _SKEW:
        return JobState(stage, wildcards, (log,), ended - seconds, ended, False, True, last_progress(log))
    lines = last_lines(log)
    reading = last_progress(log)
    failed = bool(lines) and read_progress(lines[-1]) is None and _ENDS.match(lines[-1]) is not None
    return JobState(stage, wildcards, (log,), written, None, failed, bool(lines), reading)


def _seconds(timing: Path) -> float | None:
    """Return how long a job took; None where it has not ended, or the file is being written."""
    try:
        with timing.open(encoding="utf-8", newline="") as file:
            return sum(float(row["s"]) for row in csv.DictReader(file, delimiter="\t"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _times(folder: Path) -> Iterator[float]:
    """Yield when the files that a job writes as it goes on were last written: logs, times, journals, checkpoints."""
    for part in ("logs", "benchmarks", "work"):
        for path in (folder / part).rglob("*"):
            try:
                yield path.stat().st_mtime
            except OSError:  # removed meanwhile
                continue


def expected_jobs(config: Config, folder: Path) -> dict[str, int]:
    """Return how many jobs of each stage every run with this configuration has; optional stages are left out."""
    benchmarks, models, trained = len(config.benchmarks), len(config.prm.models), len(config.prm.trained_models)
    samples = sum(len(shard_names(config, folder, "bench")) for _ in config.benchmarks)
    return {
        "train_policy": 1,
        "sample_seeds": len(shard_names(config, folder, "seeds")),
        "select_seeds": 1,
        "annotate": len(shard_names(config, folder, "annotation")),
        "gather_labels": 1,
        "train_prm": trained,
        "evaluate_prm": trained,
        "sample_candidates": samples,
        "gather_candidates": benchmarks,
        "score_candidates": benchmarks * models,
        "measure": benchmarks * models,
        "summarise": 1,
        "write_report": 1,
    }


def in_words(state: RunState) -> list[str]:
    """Return the lines to show: the run's, one for each stage, and what failed with the ends of its logs."""
    done, total = state.jobs
    running = sum(len(stage.running) for stage in state.stages)
    trace = (
        "" if state.last_trace is None else f", last written to {duration(max(0.0, state.now - state.last_trace))} ago"
    )
    lines = [f"{state.run}: {done} of {total} jobs done, {running} running{trace}"]
    waiting = [f"{stage.name} {stage.total}" for stage in state.stages if not stage.jobs]
    lines += [_line(state, stage) for stage in state.stages if stage.jobs]
    if waiting:
        lines.append(f"  to come: {', '.join(waiting)}")
    for job in state.failures:
        lines += ["", f"failed: {job.name}", *list(of_job(job))[1:]]
    if state.ended:
        lines += ["", f"The report is there: {state.report}"]
    elif state.last_trace is not None and state.now - state.last_trace > _DEAD:
        lines += [
            "",
            "Nothing writes to this folder: the run has ended, waits in a queue, or was killed. Started again",
        ]
        lines += ["as it was, it goes on where it was."]
    return lines


def _line(state: RunState, stage: StageState) -> str:
    failed = sum(job.failed for job in stage.jobs.values())
    count = f"{stage.finished}/{stage.total}"
    took = sum(job.ended - job.started for job in stage.jobs.values() if job.ended is not None)
    if stage.done:
        return f"  {stage.name:<20} {count:>7}  {duration(took):>7}  {stage.count}"
    said = [stage.count, stage.waiting(), stage.rates, _left(stage)]
    said += [f"{failed} failed"] if failed else []
    quiet = [state.quiet[job.name] for job in stage.running if state.quiet.get(job.name, 0) > _QUIET]
    said += [f"quiet for {duration(max(quiet))}"] if quiet else []
    return f"  {stage.name:<20} {count:>7}  {'':>7}  {', '.join(part for part in said if part)}"


def _left(stage: StageState) -> str:
    """Return the time left: the jobs' own estimate, and where others are to come, theirs by those that are done."""
    own = [job.reading.seconds_left for job in stage.running if job.reading]
    known = [seconds for seconds in own if seconds is not None]
    if not stage.running or len(known) < len(stage.running):
        return ""
    later = stage.total - stage.finished - len(stage.running)
    if not later:
        return f"{duration(max(known))} left"
    took = [job.ended - job.started for job in stage.jobs.values() if job.ended is not None]
    if not took:
        return ""
    return f"about {duration(max(known) + later * sum(took) / len(took) / len(stage.running))} left"


def show(states: Iterable[RunState]) -> RunState | None:
    """Show states in one place of the terminal as they come, until one has ended; returns the last."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    last = None
    with Live(console=Console(highlight=False), auto_refresh=False, vertical_overflow="visible") as live:
        for last in states:
            live.update(Text("\n".join(in_words(last))), refresh=True)
            if last.ended:
                break
    return last
