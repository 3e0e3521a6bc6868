"""Progress of a long task on stderr: a bar on a terminal, a line every ten seconds in a log.

A line of a log is a `Reading`, which `read_progress` reads back: whoever watches a run looks at its logs.
"""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, cast, get_args

from mmprm.runtime.log import console, log

# What is counted. They are named, for a line of progress to be told from a message with a number.
Unit = Literal["problems", "solutions", "answers", "paths", "updates", "rows", "row groups", "read"]

_LINE_SECONDS = 10.0
_LINE = re.compile(
    r"mmprm: (?P<label>[^:]+): (?P<done>\d+)(?: of (?P<total>\d+))? "
    rf"(?P<unit>{'|'.join(get_args(Unit))})(?:, (?P<details>.+))?"
)
_LEFT = re.compile(r"(?P<number>[\d.]+) (?P<unit>s|min|h) left")
_UNITS = {"s": 1, "min": 60, "h": 3600}


@dataclass(frozen=True)
class Reading:
    """How far a task is: `done` of `total` items (None: not known). details: rates and the like, and the time left."""

    label: str
    done: int
    total: int | None
    unit: Unit
    details: str = ""

    def __str__(self) -> str:
        total = "" if self.total is None else f" of {self.total}"
        return f"{self.label}: {self.done}{total} {self.unit}" + (f", {self.details}" if self.details else "")

    @property
    def seconds_left(self) -> float | None:
        """The time left as the task itself estimates it, in seconds; None where its details do not say."""
        found = _LEFT.search(self.details)
        return float(found["number"]) * _UNITS[found["unit"]] if found else None

    @property
    def rates(self) -> str:
        """The details without the time left."""
        return ", ".join(part for part in self.details.split(", ") if not part.endswith(" left"))


def read_progress(line: str) -> Reading | None:
    """Read a line of a log; None where it reports no progress."""
    found = _LINE.fullmatch(line.strip())
    if found is None:
        return None
    total = None if found["total"] is None else int(found["total"])
    return Reading(found["label"], int(found["done"]), total, cast(Unit, found["unit"]), found["details"] or "")


class Progress:
    """A context manager. `total` counts items of the kind `unit`; it is None where it is not known beforehand.

    Nothing is shown before the first `update`, which only one of several processes may call.
    """

    def __init__(self, label: str, total: int | None, unit: Unit) -> None:
        self.label = label
        self.total = total
        self.unit = unit
        self._started = self._written = time.monotonic()
        self._bar: Any = None

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def update(self, done: int, details: str = "") -> None:
        """Report that `done` items are done; `details` are further numbers, such as rates. Call it often."""
        if sys.stderr.isatty():
            if self._bar is None:
                self._open_bar(bool(details))
            self._bar.update(self._task, completed=done, details=details)
        elif time.monotonic() - self._written >= _LINE_SECONDS:
            self._written = time.monotonic()
            log.info(str(Reading(self.label, done, self.total, self.unit, details)))

    def _open_bar(self, details: bool) -> None:
        from rich import progress

        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn(f"{self.unit} {{task.fields[details]}}"),
            # Whoever gives details estimates the time left better than from the share of items that are done.
            progress.TimeElapsedColumn() if details else progress.TimeRemainingColumn(),
        )
        self._bar = progress.Progress(*columns, console=console())
        self._task = self._bar.add_task(self.label, total=self.total, details="")
        self._bar.start()

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def duration(seconds: float) -> str:
    """Write seconds as 45 s, 12 min or 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
