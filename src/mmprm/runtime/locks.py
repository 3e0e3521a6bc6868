"""One process at a time does a piece of work, on whatever node. In: the work's folder and name. Out: a lock, held.

SLURM may start a job again while the first one's processes live on: on a node that it has lost sight of. The second
waits for the end of the first, and then finds in the journal, or among the checkpoints, all that this has done.

The lock is the file system's (POSIX, by `fcntl`), which ends with its process, whatever ends that. NFS 4 and Lustre
(mounted with `flock`) keep it over nodes. Where a file system has none, both work: no harm is done, but work is.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mmprm.runtime.log import log

_SAY_AGAIN = 600.0  # seconds


@contextmanager
def single_writer(folder: Path, name: str) -> Iterator[None]:
    """Hold `folder`/.`name`.turn while the block runs; waits for who has it, and says so to stderr."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{name}.turn").open("ab+", buffering=0) as file:
        said = 0.0
        while not _taken(file):
            if time.monotonic() - said > _SAY_AGAIN or not said:
                file.seek(0)
                who = file.read().decode(errors="replace").strip() or "another process"
                log.info(f"{name}: {who} is at it; waiting for its end, to go on from what it leaves")
                said = time.monotonic()
            time.sleep(0.5)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {_place()}\n".encode())
        yield


def _taken(file: BinaryIO) -> bool:
    """Take the lock; False where another process has it. Where there are no locks it counts as taken."""
    try:
        # Not flock: a child that was forked, such as a grader's worker, would keep it beyond the end of this process.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True


def _place() -> str:
    job = os.environ.get("SLURM_JOB_ID")
    node = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    return f"{node} (SLURM job {job})" if job else node
