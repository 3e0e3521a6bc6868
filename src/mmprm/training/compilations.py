"""Locks of compilations that were killed. In: torch's folder of extensions. Out: the folder without them.

DeepSpeed compiles its communication at its first start, under a lock that is a mere file: a kill leaves it behind, and
every later training would wait for it without end.
"""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from mmprm.runtime.log import log

_ELSEWHERE = 180.0  # seconds of silence after which a lock that no process here holds is not another machine's either


def end_abandoned(sleep: Callable[[float], None] = time.sleep) -> None:
    """Remove the locks whose process has ended; call it before a process that may compile starts.

    The compiling process holds its lock file open. One that nobody here holds may be that of another machine which
    shares the folder: it is removed once nothing in the folder has changed for three minutes.
    """
    root = os.environ.get("TORCH_EXTENSIONS_DIR") or os.path.expanduser("~/.cache/torch_extensions")  # noqa: PTH111 (as torch does, without a home as well)
    for lock in Path(root).resolve().glob("**/lock"):
        told = False
        while lock.exists() and not _held(lock):
            silence = time.time() - max(_changed(path) for path in (lock, *lock.parent.iterdir()))
            if silence > _ELSEWHERE:
                log.info(f"{lock}: removing the lock of a compilation that was killed")
                lock.unlink(missing_ok=True)
                break
            if not told:
                log.info(
                    f"{lock}: no process here compiles there; waiting up to {_ELSEWHERE:.0f} s for another machine's"
                )
                told = True
            sleep(1.0)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # it went while the folder was listed
        return 0.0


def _held(lock: Path) -> bool:
    """Tell whether a process of this machine has the file open."""
    try:
        wanted = lock.stat()
    except OSError:
        return False
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.path.samestat(descriptor.stat(), wanted):
                return True
    return False
