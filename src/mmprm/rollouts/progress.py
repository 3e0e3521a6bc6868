"""How far a sampling stage has come: a bar on a terminal, a line every ten seconds in a log. Writes to stderr only."""

from __future__ import annotations

import sys
import time
from typing import Any

from mmprm.engine.base import EngineStats
from mmprm.runtime.progress import say

_SECONDS = 10.0


def duration(seconds: float) -> str:
    """As 45 s, 12 min or 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Progress:
    """Call `update` often; it writes seldom. Rates are of what was sampled now, replayed work left out.

    `total` counts problems, `most_rollouts` the rollouts of all of them together at most, which bounds the time left:
    problems are worked on side by side, so that none of them may end for long.
    """

    def __init__(self, label: str, total: int, most_rollouts: int) -> None:
        self.label = label
        self.total = total
        self.most_rollouts = most_rollouts
        self._started = self._written = time.monotonic()
        self._bar: Any = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rates]}"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task(label, total=total, rates="")
            self._bar.start()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def update(self, done: int, rollouts: int, tokens: int, replayed: int, stats: EngineStats) -> None:
        """Totals so far: problems that ended, rollouts and tokens sampled, rollouts replayed; and the engine's."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, rates=self._rates(rollouts, tokens, replayed, stats))
        elif time.monotonic() - self._written >= _SECONDS:
            self._written = time.monotonic()
            rates = self._rates(rollouts, tokens, replayed, stats)
            say(f"{self.label}: {done} of {self.total} problems, {rates}")

    def _rates(self, rollouts: int, tokens: int, replayed: int, stats: EngineStats) -> str:
        seconds = max(self.seconds, 1e-6)
        parts = [f"{rollouts / seconds:.0f} rollouts/s", f"{tokens / seconds:.0f} tokens/s"]
        if stats.mean_batch is not None:
            parts.append(f"mean batch {stats.mean_batch:.0f}")
        if stats.cached_share is not None:
            parts.append(f"{stats.cached_share:.0%} of prompt tokens cached")
        left = self.most_rollouts - rollouts - replayed
        if rollouts and left > 0:  # a search that a PRM guides may draw more than its number of solutions
            parts.append(f"at most {duration(left * seconds / rollouts)} left")
        return ", ".join(parts)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
