"""The ends of job logs. In: paths of logs that jobs are writing. Out: the last lines, and the last line of progress."""

from __future__ import annotations

import re
from pathlib import Path

from mmprm.runtime.progress import Reading, read_progress

WINDOW = 16_384  # bytes read from the end: a log may be large, and lies on a shared file system
_LONGEST = 1_000  # characters of a line that is shown
# Escape sequences, and all other control characters: a log may hold text of a model, which must not steer the terminal.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-_]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def last_lines(log: Path, n: int | None = None, window: int = WINDOW) -> list[str]:
    """Return the last n lines (None: all) that hold text, of the last `window` bytes, fit to be shown.

    There are none where the log cannot be read.
    """
    try:
        with log.open("rb") as file:
            start = max(0, file.seek(0, 2) - window)
            file.seek(start)
            text = file.read().decode(errors="replace")
    except OSError:  # not written yet, or in an object store
        return []
    lines = [_ESCAPES.sub("", line.rpartition("\r")[2]).rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    if start:
        del lines[0]  # its beginning is missing
    return [line[:_LONGEST] for line in lines if line.strip()][-(n or 0) :]


def newest(logs: tuple[Path, ...], since: float) -> Path | None:
    """Return the first of a job's logs that was written after `since` (seconds since the epoch), or None.

    What an earlier attempt or an earlier run left in a log says nothing of a job that still waits in a queue.
    """
    for log in logs:
        try:
            if log.stat().st_mtime >= since:
                return log
        except OSError:
            continue
    return None


def last_progress(log: Path) -> Reading | None:
    """Return what the last line of progress says; None where there is none near the end of the log."""
    readings = (read_progress(line) for line in reversed(last_lines(log)))
    return next((reading for reading in readings if reading is not None), None)
