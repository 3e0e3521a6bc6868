"""What is left of the pools of a process that was killed: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import is_alive, wait_for

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks for processes in /proc")

# Each starts a pool, has it work once, says so, and waits.
POOLS = {
    "grading": """
from mmprm.grading import Grader
from mmprm.data.problem import Problem
with Grader(2, 3600.0) as grader:
    problem = Problem("p", "test", "", r"2\\sqrt{2}")
    print(grader.grade_many([(r"\\sqrt{8}", problem)])[0].verdict, flush=True)
    time.sleep(3600)
""",
    "futures": """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from mmprm.runtime.parent_death import end_with_parent
context = multiprocessing.get_context("spawn")
with ProcessPoolExecutor(2, mp_context=context, initializer=end_with_parent) as pool:
    print(list(pool.map(abs, [-1, -2])), flush=True)
    time.sleep(3600)
""",
}
START = "import time\nif __name__ == '__main__':\n"


def descendants(process: int) -> set[int]:
    """All processes below one."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
    found = {process}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {process}


@pytest.mark.parametrize("pool", POOLS)
def test_the_processes_of_a_killed_one_end(pool: str, tmp_path: Path) -> None:
    script = tmp_path / "pool.py"  # a file: spawned processes read it again
    script.write_text(START + POOLS[pool].strip().replace("\n", "\n    ").join(["    ", "\n"]))
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None and parent.stdout.readline().strip() in ("correct", "[1, 2]")
    below = descendants(parent.pid)
    assert len(below) >= 2
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_for(lambda: not any(map(is_alive, below)), "the end of the pool's processes")
