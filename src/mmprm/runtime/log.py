"""Messages to the user. In: `log.info(...)` and so on. Out: lines `mmprm: ...` on stderr; rich formats a terminal's."""

from __future__ import annotations

import functools
import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.logging import RichHandler


@functools.cache
def console() -> Console:
    """Return the terminal's console, shared with the progress bar so that messages are printed above it."""
    from rich.console import Console

    return Console(stderr=True)


@functools.cache
def _rich_handler() -> RichHandler:
    from rich.logging import RichHandler

    return RichHandler(console=console(), show_path=False)


def write_line(line: str) -> None:
    """Write a line to stderr in one call.

    An unbuffered print() (PYTHONUNBUFFERED, as images of containers set it) writes the line's end by itself, and what
    another process writes to the same log meanwhile would stand on the same line.
    """
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


class _StderrHandler(logging.Handler):
    """Looks up sys.stderr at each message, and imports rich only for a terminal: the import takes 0.1 s."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if sys.stderr.isatty():
                _rich_handler().emit(record)
            else:
                write_line(f"mmprm: {self.format(record)}")
        except Exception:  # as every handler of logging does: what cannot be shown ends no command
            self.handleError(record)


log = logging.getLogger("mmprm")
log.setLevel(logging.INFO)
log.propagate = False  # libraries put handlers of their own on the root logger
log.addHandler(_StderrHandler())
