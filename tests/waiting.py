"""Waiting for other processes on a machine of any speed: no test fails for being slow.

The end of a process is awaited without a limit (`Popen.wait()`, `Process.join()`). All else goes through `wait_for`,
whose limit guards against a hang and is never what a test is about.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeVar

HANG = 3600.0  # seconds after which a test is taken to hang; a process that must not end earlier sleeps as long
T = TypeVar("T")


def wait_for(
    condition: Callable[[], T],
    what: str,
    process: subprocess.Popen[bytes] | subprocess.Popen[str] | BaseProcess | None = None,
    log: Path | None = None,
    pause: float = 0.01,
) -> T:
    """Return the first true value of `condition`, which is looked at every `pause` seconds.

    Fails after HANG seconds, and at once where `process` has ended and the condition still does not hold. The message
    has the end of `log`.
    """
    end = time.monotonic() + HANG
    while True:
        ended = process is not None and has_ended(process)
        if value := condition():
            return value
        log_end = log.read_text()[-4000:] if log is not None and log.exists() else ""
        assert not ended, f"the process ended before {what}\n{log_end}"
        assert time.monotonic() < end, f"hangs while waiting for {what}\n{log_end}"
        time.sleep(pause)


def has_ended(process: subprocess.Popen[bytes] | subprocess.Popen[str] | BaseProcess) -> bool:
    """Tell whether a child of this process has ended."""
    if isinstance(process, BaseProcess):
        return process.exitcode is not None
    return process.poll() is not None


def is_alive(process: int) -> bool:
    """Tell whether any process of this machine runs; a zombie, which its parent has not awaited yet, does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill_own_process_when(condition: Callable[[], object], delay: float = 0.0) -> None:
    """Have this process end as by kill -9, `delay` seconds after the condition is first true; returns at once.

    The killer is a thread of its victim: a busy machine slows down both, and the kill comes in the middle of the work.
    """

    def held() -> object:
        with suppress(FileNotFoundError):  # a folder that went while it was listed
            return condition()
        return False

    def watch() -> None:
        while not held():
            time.sleep(0.001)
        time.sleep(delay)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def python_that_kills_itself(condition: str, code: str) -> list[str]:
    """Return a command that runs `code` and kills itself when the Python expression `condition` is first true."""
    setup = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\nimport waiting; from pathlib import Path"
    return [sys.executable, "-c", f"{setup}\nwaiting.kill_own_process_when(lambda: {condition})\n{code}"]
