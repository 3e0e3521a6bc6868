"""How far a count has come: a bar on a terminal, a line every ten seconds in a log. Writes to stderr only.

And `say`, a line for people there.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

_SECONDS = 10.0


def say(message: str) -> None:
    """One line on stderr."""
    print(f"mmprm: {message}", file=sys.stderr, flush=True)


class Bar:
    """A context manager. `total` counts things of the kind `unit`, None where it is not known beforehand; call `update`
    as often as you like."""

    def __init__(self, label: str, total: int | None, unit: str) -> None:
        self.label = label
        self.total = total
        self.unit = unit
        self._written = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> Bar:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._task = self._bar.add_task(self.label, total=self.total)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int) -> None:
        """So many are done."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done)
        elif time.monotonic() - self._written > _SECONDS:
            self._written = time.monotonic()
            of = "" if self.total is None else f" of {self.total}"
            print(f"{self.label} {done}{of} {self.unit}", file=sys.stderr, flush=True)
