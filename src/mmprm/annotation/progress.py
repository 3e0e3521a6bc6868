"""How far a sampling stage has come: a bar on a terminal, a line every ten seconds in a log. Writes to stderr only."""

from __future__ import annotations

import sys
import time
from typing import Any

_SECONDS = 10.0


def say(message: str) -> None:
    """One line on stderr."""
    print(f"mmprm: {message}", file=sys.stderr, flush=True)


class Progress:
    """Call `update` often; it writes seldom. Rates are of what was sampled now, replayed work left out."""

    def __init__(self, label: str, total: int) -> None:
        self.label = label
        self.total = total
        self._started = self._written = time.monotonic()
        self._bar: Any = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rates]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task(label, total=total, rates="")
            self._bar.start()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def update(self, done: int, rollouts: int, tokens: int) -> None:
        """Totals so far: problems that ended, rollouts and tokens sampled."""
        seconds = max(self.seconds, 1e-6)
        rates = f"{rollouts / seconds:.0f} rollouts/s, {tokens / seconds:.0f} tokens/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=done, rates=rates)
        elif time.monotonic() - self._written >= _SECONDS:
            self._written = time.monotonic()
            left = f"about {seconds / done * (self.total - done):.0f} s left" if done else "time left unknown"
            say(f"{self.label}: {done} of {self.total} problems, {rates}, {left}")

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
