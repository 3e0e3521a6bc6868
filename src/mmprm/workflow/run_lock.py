"""One run at a time in a folder and on its results. In: the working directory and the configuration. Out: locks.

A lock is the kernel's (flock) on an open file: it ends with its process, however that ends. The caller keeps the file.
"""

import contextlib
import fcntl
import socket
from pathlib import Path
from typing import IO

from mmprm.config import Config
from mmprm.data.tables import write_text
from mmprm.runtime import disk
from mmprm.runtime.errors import UserError
from mmprm.runtime.locks import try_flock
from mmprm.runtime.log import log

_SNAKEMAKE = Path(".snakemake")


@disk.explained()
def hold_folder(on_cluster: bool) -> tuple[IO[str], bool]:
    """Mark this folder as in use while this process lives, and remove Snakemake's locks that a killed run left in it.

    Snakemake's own locks outlive a kill -9. Returns the open file that holds the mark, and whether no other run lives
    here. on_cluster: machines share the folder, and its kernel may know the locks of its own machine only: locks of a
    run on another host are then left to the user (`snakemake --unlock`). UserError where the folder cannot be written.
    """
    file, alone = _marked(_SNAKEMAKE / "mmprm.in-use")
    if alone:  # else another run lives; Snakemake's own locks tell whether the two touch the same files
        file.seek(0)
        locks, host = list((_SNAKEMAKE / "locks").glob("*.lock")), file.read()
        if locks and on_cluster and host not in ("", socket.gethostname()):
            alone = False
        else:
            for lock in locks:
                lock.unlink()
            file.truncate(0)
            file.write(socket.gethostname())
            file.flush()
    _share(file)
    return file, alone


@disk.explained()
def write_resolved_config(config: Config) -> IO[str]:
    """Write results/<run>/config.json, which jobs read as they start; returns the open file that marks it as in use.

    UserError where a run with other settings is writing to the same results, or where they cannot be written.
    """
    results = Path("results") / config.run
    path, text = results / "config.json", config.model_dump_json(indent=2) + "\n"
    file, alone = _marked(results / ".in-use")
    if alone:
        write_text(path, text)
    _share(file)  # waits for a run that is about to write
    if path.read_text(encoding="utf-8") != text:
        raise UserError(
            f"{path}: a run that is alive has other settings for these results, and its jobs would read yours; "
            "wait for its end, or give this run another name: --config run=..."
        )
    return file


def _marked(path: Path) -> tuple[IO[str], bool]:
    """Open a mark; True where this process holds it exclusively, until it shares it (LOCK_SH)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+", encoding="utf-8")
    try:
        return file, try_flock(file)
    except OSError as error:  # a file system without locks
        log.warning(f"{path}: {error.strerror} here, so that two runs at once are not noticed: start one at a time")
        return file, True


def _share(file: IO[str]) -> None:
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_SH)
