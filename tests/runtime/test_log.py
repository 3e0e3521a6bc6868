"""Messages on stderr."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_WRITES = """
import sys
from mmprm.runtime.log import log
for _ in range(400):
    log.info(sys.argv[1] * 50)
"""


def test_the_lines_of_processes_that_write_to_one_log_stay_whole(tmp_path: Path) -> None:
    """Also where Python does not buffer, as in many a container: print() would write a line's end by itself."""
    command = [sys.executable, "-c", _WRITES]
    with (tmp_path / "log").open("a") as file:
        writers = [
            subprocess.Popen([*command, name], stderr=file, env={**os.environ, "PYTHONUNBUFFERED": "1"})
            for name in "abcd"
        ]
        assert [writer.wait() for writer in writers] == [0] * 4
    lines = (tmp_path / "log").read_text().splitlines()
    assert sorted(lines) == sorted(f"mmprm: {name * 50}" for name in "abcd" for _ in range(400))
