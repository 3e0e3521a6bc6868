"""A compilation that was killed keeps no later training waiting; one that lives keeps its lock."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from mmprm.training import compilations


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lock that torch's own code leaves where it is killed while it compiles."""
    from torch.utils.file_baton import FileBaton

    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    folder = tmp_path / "deepspeed_shm_comm"
    folder.mkdir()
    (folder / "main.cpp").touch()
    baton = FileBaton(str(folder / "lock"))
    assert baton.try_acquire()
    os.close(baton.fd)  # as the kernel does for a process that has ended
    return folder / "lock"


def _age(lock: Path, seconds: float) -> None:
    for path in (lock, *lock.parent.iterdir()):
        os.utime(path, (time.time() - seconds,) * 2)


def test_a_lock_that_nobody_holds_is_removed_before_processes_start(lock: Path) -> None:
    _age(lock, 1000)
    compilations.end_abandoned()
    assert not lock.exists() and (lock.parent / "main.cpp").exists()


def test_a_young_lock_may_be_another_machines_and_is_waited_for(lock: Path) -> None:
    waits = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            _age(lock, 1000)

    compilations.end_abandoned(sleep)
    assert len(waits) == 3 and not lock.exists()


def test_the_lock_of_a_process_that_compiles_is_left(lock: Path) -> None:
    _age(lock, 1000)
    with lock.open():
        compilations.end_abandoned()
        assert lock.exists()
