"""Log records as Snakemake 9.27 makes them (jobs.py, job_scheduler.py), of jobs whose logs lie in a folder."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.common import LogEvent


def record(event: LogEvent | None, message: str | None = None, **values: Any) -> logging.LogRecord:
    made = logging.LogRecord("snakemake.logging", logging.INFO, __file__, 1, message, None, None)
    made.__dict__.update(values if event is None else {"event": event, **values})
    return made


def started(number: int, rule: str, log: Path, **wildcards: str) -> logging.LogRecord:
    return record(LogEvent.JOB_INFO, jobid=number, rule_name=rule, wildcards=wildcards, log=[str(log)])


def failed(number: int, rule: str, *logs: Path) -> logging.LogRecord:
    return record(LogEvent.JOB_ERROR, jobid=number, rule_name=rule, log=[str(log) for log in logs])


def finished(number: int) -> logging.LogRecord:
    return record(LogEvent.JOB_FINISHED, job_id=number)
