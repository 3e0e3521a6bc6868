"""A command on a terminal: a pty of a given width, of which all that is written is kept."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from pathlib import Path

from waiting import wait_for

_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


class OnTerminal:
    """A running command, which is killed at the end of a `with`; `text` is what it wrote, without escape sequences."""

    def __init__(self, command: list[str], folder: Path, columns: int = 120, **environment: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        variables = {**os.environ, "TERM": "xterm-256color", **environment}
        for name in ("NO_COLOR", "COLUMNS", "LINES"):
            variables.pop(name, None)
        # A job that a shell started in the background ignores Ctrl-C, and so would whatever it starts.
        self.process = subprocess.Popen(
            ["env", "--default-signal=INT", *command],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._written: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._ours, 65_536)
            except OSError:  # Linux's end of a pty that nobody writes to any more
                return
            if not data:
                return
            self._written.append(data.decode(errors="replace"))

    @property
    def raw(self) -> str:
        return "".join(self._written)

    @property
    def text(self) -> str:
        return _ESCAPES.sub("", self.raw).replace("\r\n", "\n")

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until what has been written matches; the first match."""
        wait_for(lambda: re.search(pattern, self.text), f"the terminal shows {pattern!r}: {self.text}", self.process)
        found = re.search(pattern, self.text)
        assert found is not None
        return found

    def __enter__(self) -> OnTerminal:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def end(self) -> int:
        """Wait for its end; the exit status."""
        status = self.process.wait()
        self._reader.join()
        os.close(self._ours)
        return status
