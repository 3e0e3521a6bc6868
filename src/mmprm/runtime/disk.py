"""Errors of the file system, such as a full disk. In: a block that writes. Out: one sentence with path and remedy."""

import errno
import os
import shutil
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmprm.runtime.errors import UserError

_ROOM = "make room (`mmprm clean RUN` shows what of a run can go) and run again: what was finished is kept"
_RIGHTS = "give this user the rights to it, or name another folder"
_REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EROFS: "run in a folder that can be written: `snakemake --directory FOLDER`",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EIO: "the disk is damaged, or a network file system is gone; run again when it is back",
    errno.ESTALE: "a network file system has changed under this process; run again",
}
_SHARED = (
    "processes share memory there: mount it as a file system that can be written, in Docker by --shm-size=8g or "
    "--ipc=host, and run again"
)
_LEFT = 2**20  # bytes that are free on a full disk at most: a last piece did not fit


@contextmanager
def explained() -> Iterator[None]:
    """Raise UserError, with the file and the remedy, in place of an OSError of the block that a user can mend."""
    try:
        yield
    except OSError as error:
        if _of_semaphores(error):
            raise UserError(f"/dev/shm: {error.strerror}; {_SHARED}") from error
        if error.errno not in _REMEDIES or error.filename is None:
            raise
        name, why = os.fsdecode(error.filename), os.strerror(error.errno)
        raise UserError(f"{name}: {why}; {_REMEDIES[error.errno]}") from error


def _of_semaphores(error: OSError) -> bool:
    """Tell whether the error is of shared memory, which it does not name: what raises it does."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.endswith("multiprocessing/synchronize.py")


def require_shared_memory() -> None:
    """Raise what vLLM and pools of processes would raise, hours later, where the machine has no shared memory."""
    import multiprocessing

    multiprocessing.Lock()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an OSError of the block the name of the file that it was about, where it has none.

    A write that finds the disk full names no file, and a temporary file beside `path` is nothing that a user knows.
    """
    try:
        yield
    except OSError as error:
        temporary = str(path.parent / f".{path.name}.")
        named = error.filename is not None and not os.fsdecode(error.filename).startswith(temporary)
        if error.errno in _REMEDIES and not named:
            error.filename = str(path)
        raise


@contextmanager
def filling(folder: Path) -> Iterator[None]:
    """Raise OSError (ENOSPC) where the block fails because the disk of `folder` is full.

    torch and safetensors raise errors of their own then, and torch's does not say why.
    """
    try:
        with naming(folder):
            yield
    except Exception as error:  # libraries name a full disk in exceptions of their own
        if isinstance(error, OSError) and error.errno is not None:
            raise
        if "os error 28" in str(error) or _is_full(folder):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
        raise


def _is_full(folder: Path) -> bool:
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(place).free < _LEFT
