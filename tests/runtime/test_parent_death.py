"""A process that is tied to another ends with it, however that ends, and so do those that are tied to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import is_alive, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties processes")

# A launcher that starts a tied command, and that a tied worker; the last writes its number when it is parent_death.
WORKER = """
import os, sys, time
from pathlib import Path
from mmprm.runtime import parent_death
parent_death.tie_to_command()
Path(sys.argv[1]).write_text(f"{os.getppid()} {os.getpid()}\\n")
time.sleep(3600)
"""
COMMAND = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]], start_new_session=True)"
LAUNCHER = """
import subprocess, sys
from mmprm.runtime import parent_death
subprocess.run(parent_death.to_me([sys.executable, "-c", *sys.argv[1:]]))
"""


@pytest.fixture
def family(tmp_path: Path) -> Iterator[list[int]]:
    """The numbers of a running launcher, its command and that one's worker."""
    note = tmp_path / "numbers"
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, COMMAND, WORKER, str(note)])
    family = [launcher.pid]
    try:
        wait_for(lambda: note.exists() and note.read_text().endswith("\n"), "the worker", launcher)
        family += [int(number) for number in note.read_text().split()]
        yield family
    finally:
        for process in family:
            if is_alive(process):
                os.kill(process, signal.SIGKILL)
        launcher.wait()


def test_killing_the_launcher_alone_ends_command_and_worker(family: list[int]) -> None:
    launcher, command, worker = family
    assert is_alive(command) and is_alive(worker)
    os.kill(launcher, signal.SIGKILL)
    wait_for(lambda: not is_alive(command) and not is_alive(worker), "the end of command and worker")


def test_killing_the_command_ends_its_worker(family: list[int]) -> None:
    _, command, worker = family
    os.kill(command, signal.SIGKILL)
    wait_for(lambda: not is_alive(worker), "the end of the worker")


def test_a_parent_that_died_before_the_tie_ends_it_too() -> None:
    """As when the launcher is killed while Python starts: whoever adopted the process is not its parent."""
    command = [sys.executable, "-m", "mmprm.runtime.parent_death", str(os.getpid() + 1), str(int(signal.SIGKILL))]
    done = subprocess.run([*command, sys.executable, "-c", "print('it ran')"], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL and done.stdout == b""
