"""One process at a time: the next one waits, and a kill -9 of the first lets it in at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import wait_for

from mmprm.runtime import locks

PROCESSES = 6
CONTEXT = multiprocessing.get_context("fork")


def add_one(folder: Path) -> None:
    """Read, wait, write: what two at once would spoil."""
    with locks.single_writer(folder, "count"):
        count = folder / "count"
        before = int(count.read_text()) if count.exists() else 0
        time.sleep(0.05)
        count.write_text(str(before + 1))


def test_of_many_processes_each_finds_what_the_one_before_has_left(tmp_path: Path) -> None:
    processes = [CONTEXT.Process(target=add_one, args=(tmp_path / "new",)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert (tmp_path / "new/count").read_text() == str(PROCESSES)


def test_another_piece_of_work_does_not_wait(tmp_path: Path) -> None:
    holder = held(tmp_path, "first")
    try:
        with locks.single_writer(tmp_path, "second"):
            assert holder.poll() is None
    finally:
        holder.kill()
        holder.wait()


def held(folder: Path, name: str) -> subprocess.Popen[str]:
    """A process that holds a turn until it is killed, beside a child that it has forked and that outlives it."""
    script = (
        "import os, sys, time; from pathlib import Path; from mmprm.runtime import locks\n"
        "with locks.single_writer(Path(sys.argv[1]), sys.argv[2]):\n"
        "    child = os.fork()\n"
        "    if child: print(child, flush=True)\n"
        "    time.sleep(3600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder), name], text=True, stdout=subprocess.PIPE, env={**os.environ}
    )
    assert process.stdout is not None and process.stdout.readline()
    return process


def test_who_waits_says_for_whom_and_is_let_in_when_the_holder_is_killed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    holder = held(tmp_path, "shard")
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
    waiting = CONTEXT.Process(target=add_to, args=(tmp_path,))
    waiting.start()
    try:
        message = ""

        def waits() -> bool:
            nonlocal message
            message += capfd.readouterr().err
            return f"shard: process {holder.pid} on " in message

        wait_for(waits, "the message of the one that waits", waiting)
        assert waiting.is_alive() and not (tmp_path / "entered").exists()
        os.kill(holder.pid, signal.SIGKILL)
        waiting.join()
        assert (tmp_path / "entered").exists()
        assert all(Path(f"/proc/{child}").exists() for child in children), "the holder's child lives"
    finally:
        holder.kill()
        holder.wait()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        waiting.kill()
        waiting.join()


def add_to(folder: Path) -> None:
    with locks.single_writer(folder, "shard"):
        (folder / "entered").touch()
