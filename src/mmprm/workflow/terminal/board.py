"""What runs, and how far it is. In: Snakemake's log records and the ends of the jobs' logs. Out: stages and failures.

A stage is a rule: its jobs (shards, benchmarks, variants) are one line.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from snakemake_interface_logger_plugins.common import LogEvent

from mmprm.runtime.progress import Reading, duration
from mmprm.workflow.terminal import log_ends

_CLOCK_SKEW = 5.0  # seconds by which a file server's clock may be behind
_RATE = re.compile(r"([\d.]+) (\w+/s)")


@dataclass
class JobState:
    """A job that was started; times are seconds since the epoch."""

    stage: str
    wildcards: str
    logs: tuple[Path, ...]
    started: float
    ended: float | None = None
    failed: bool = False
    has_written: bool = False
    reading: Reading | None = None

    @property
    def name(self) -> str:
        """The rule and its wildcards."""
        return f"{self.stage} ({self.wildcards})" if self.wildcards else self.stage

    @property
    def share(self) -> float | None:
        """The share of the job that is done; None where it does not say."""
        if self.ended is not None:
            return 1.0
        reading = self.reading
        return min(1.0, reading.done / reading.total) if reading and reading.total else None


@dataclass
class StageState:
    """A rule and those of its jobs that were started; `total` counts all that this run needs."""

    name: str
    total: int
    jobs: dict[int, JobState] = field(default_factory=dict)

    @property
    def running(self) -> list[JobState]:
        """The jobs that were started and have not ended."""
        return [job for job in self.jobs.values() if job.ended is None and not job.failed]

    @property
    def finished(self) -> int:
        """The number of jobs that ended well."""
        return sum(job.ended is not None for job in self.jobs.values())

    @property
    def done(self) -> bool:
        """Whether all jobs have ended well."""
        return self.finished >= self.total

    @property
    def started(self) -> float:
        """When the first of the jobs was started."""
        return min(job.started for job in self.jobs.values())

    @property
    def share(self) -> float | None:
        """The share of the stage's work that is done, by the mean of its jobs; None where nothing says."""
        shares = [job.share for job in self.jobs.values()]
        known = [share for share in shares if share is not None]
        return sum(known) / self.total if known else None

    @property
    def count(self) -> str:
        """Items done, over all jobs that count the same kind: `120 of 300 problems`; empty where no job says."""
        readings = [job.reading for job in self.jobs.values() if job.reading]
        if not readings:
            return ""
        unit = Counter(reading.unit for reading in readings).most_common(1)[0][0]
        same = [(job, job.reading) for job in self.jobs.values() if job.reading and job.reading.unit == unit]
        # The last line of a job that has ended is some seconds older than its end.
        done = sum(reading.total or reading.done if job.ended else reading.done for job, reading in same)
        if any(reading.total is None for _, reading in same):
            return f"{done} {unit}"
        return f"{done} of {sum(reading.total or 0 for _, reading in same)} {unit}"

    @property
    def rates(self) -> str:
        """The rates of one job as it gives them; those of several are summed, unit by unit."""
        readings = [job.reading for job in self.running if job.reading]
        if len(readings) == 1:
            return readings[0].rates
        sums: dict[str, float] = {}
        for reading in readings:
            for number, unit in _RATE.findall(reading.rates):
                sums[unit] = sums.get(unit, 0.0) + float(number)
        return ", ".join(f"{_number(value)} {unit}" for unit, value in sums.items())

    def left(self, now: float) -> str:
        """Return the time left: the job's own estimate where all jobs run, else from the share that is done."""
        running = self.running
        own = [job.reading.seconds_left for job in running if job.reading]
        known = [seconds for seconds in own if seconds is not None]
        if running and len(known) == len(running) == self.total - self.finished:
            return f"{duration(max(known))} left"
        share = self.share
        if not share or not running:
            return ""
        return f"about {duration((now - self.started) * (1 - share) / share)} left"

    def waiting(self) -> str:
        """Say how many jobs have not begun to write: they are in a cluster's queue, or are starting."""
        silent = sum(not job.has_written for job in self.running)
        if not silent:
            return ""
        return "waiting" if silent == self.total == 1 else f"{silent} waiting"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


class Board:
    """The state of a run. Its methods may be called by several threads."""

    def __init__(self, totals: Mapping[str, int], clock: Callable[[], float] = time.time) -> None:
        """totals: the number of jobs of each rule that this run needs."""
        self.stages = {name: StageState(name, total) for name, total in totals.items()}
        self.clock = clock
        self.started = clock()
        self.interrupted = False
        self._lock = threading.RLock()

    def take(self, record: logging.LogRecord) -> StageState | JobState | None:
        """Note what a record says; returns the stage whose last job it ends, or the job that failed by it."""
        event = getattr(record, "event", None)
        with self._lock:
            if event == LogEvent.JOB_INFO:
                self._start(record)
            elif event == LogEvent.JOB_ERROR:
                return self._fail(record)
            elif event == LogEvent.JOB_FINISHED:
                return self._finish(record.__dict__["job_id"])
            elif event is None and str(record.msg).startswith("Terminating processes on user request"):
                self.interrupted = True
        return None

    def _start(self, record: logging.LogRecord) -> None:
        values = record.__dict__
        stage = self.stages.setdefault(values["rule_name"], StageState(values["rule_name"], 0))
        wildcards = ", ".join(f"{key} {value}" for key, value in values["wildcards"].items())
        job = JobState(stage.name, wildcards, tuple(map(Path, values["log"])), self.clock())
        stage.jobs[values["jobid"]] = job  # another attempt takes the place of the one that failed
        stage.total = max(stage.total, len(stage.jobs))

    def _fail(self, record: logging.LogRecord) -> JobState | None:
        values = record.__dict__
        stage = self.stages.get(values["rule_name"])
        job = stage.jobs.get(values["jobid"]) if stage else None
        if job is not None:
            job.failed = True
            job.logs = tuple(map(Path, values["log"]))  # with those of the cluster
        return job

    def _finish(self, number: int) -> StageState | None:
        for stage in self.stages.values():
            if number in stage.jobs:
                stage.jobs[number].ended = self.clock()
                return stage if stage.done else None
        return None

    def read_logs(self) -> None:
        """Look at the ends of the logs of the jobs that run."""
        with self._lock:
            running = [job for stage in self.stages.values() for job in stage.running]
        for job in running:  # without the lock: a file system may take its time
            log = log_ends.newest(job.logs, job.started - _CLOCK_SKEW)
            if log is not None:
                reading = log_ends.last_progress(log)
                with self._lock:
                    job.has_written, job.reading = True, reading or job.reading

    @property
    def active(self) -> list[StageState]:
        """The stages of which a job runs."""
        with self._lock:
            return [stage for stage in self.stages.values() if stage.running]

    @property
    def failures(self) -> list[JobState]:
        """The jobs whose last attempt failed."""
        with self._lock:
            return [job for stage in self.stages.values() for job in stage.jobs.values() if job.failed]

    @property
    def jobs(self) -> tuple[int, int]:
        """How many jobs ended well, and how many there are."""
        with self._lock:
            return sum(s.finished for s in self.stages.values()), sum(s.total for s in self.stages.values())
