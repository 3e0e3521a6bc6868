"""Progress of a training on stderr: a line that is rewritten on a terminal, a line every few seconds in a log."""

from __future__ import annotations

import sys
import time
from typing import Any

_EVERY = 5.0  # seconds between two lines of a log


def quiet() -> None:
    """Switch off transformers' own bars for loading and saving weights."""
    from transformers.utils import logging

    logging.disable_progress_bar()


class Progress:
    """Says step, loss, rate and time left of the training named `title`."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._last = float("-inf")

    def say(self, text: str) -> None:
        """Print one line."""
        print(f"{self.title}: {text}", file=sys.stderr, flush=True)

    def callback(self) -> Any:
        """The Trainer callback that reports."""
        from transformers import TrainerCallback

        progress = self

        class _Report(TrainerCallback):
            def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                progress._begun, progress._first = time.monotonic(), state.global_step

            def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
                if state.is_world_process_zero and "loss" in (logs or {}):
                    progress.update(state.global_step, state.max_steps, logs["loss"])

        return _Report()

    def update(self, step: int, total: int, loss: float) -> None:
        """Report, unless the last report was a moment ago."""
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        if step < total and now - self._last < (0.2 if terminal else _EVERY):
            return
        self._last = now
        rate = (step - self._first) / max(now - self._begun, 1e-9)
        left = (total - step) / rate if rate else 0.0
        text = f"update {step}/{total}, loss {loss:.4f}, {rate:.2f} updates/s, {_clock(left)} left"
        if terminal:
            print(f"\r{self.title}: {text}\x1b[K", end="\n" if step >= total else "", file=sys.stderr, flush=True)
        else:
            self.say(text)

    _begun = 0.0
    _first = 0


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
