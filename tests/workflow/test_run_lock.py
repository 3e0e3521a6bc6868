"""The marks of a folder and of its results; that live and killed runs behave so is tested in test_killed_runs."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from pathlib import Path

import pytest
from snake import changed

from mmprm.config import load
from mmprm.runtime.errors import UserError
from mmprm.workflow.run_lock import hold_folder, write_resolved_config

RESOLVED = Path("results/small/config.json")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def leave_lock(host: str | None = None) -> Path:
    """What a run that was killed leaves; host: the machine on which it ran."""
    lock = Path(".snakemake/locks/0.output.lock")
    lock.parent.mkdir(parents=True)
    lock.touch()
    if host:
        Path(".snakemake/mmprm.in-use").write_text(host)
    return lock


def test_the_only_run_removes_the_locks_of_a_killed_one_and_names_its_host() -> None:
    lock = leave_lock()
    file, alone = hold_folder(on_cluster=False)
    assert alone and not lock.exists()
    assert Path(".snakemake/mmprm.in-use").read_text() == socket.gethostname()
    file.close()


def test_beside_a_live_run_locks_stay() -> None:
    first, _ = hold_folder(on_cluster=False)
    lock = leave_lock()
    second, alone = hold_folder(on_cluster=False)
    assert not alone and lock.exists()
    first.close()
    second.close()


@pytest.mark.parametrize(("host", "removed"), [("elsewhere", False), (socket.gethostname(), True), (None, True)])
def test_on_a_cluster_locks_of_a_run_on_another_host_are_left_to_people(host: str | None, removed: bool) -> None:
    lock = leave_lock(host)
    file, alone = hold_folder(on_cluster=True)
    assert alone == removed and lock.exists() != removed
    file.close()


def test_a_run_with_other_settings_is_refused_while_the_first_one_lives() -> None:
    first = write_resolved_config(load(changed({})))
    same = write_resolved_config(load(changed({})))
    before = RESOLVED.read_text()
    with pytest.raises(UserError, match=r"config\.json: a run that is alive has other settings"):
        write_resolved_config(load(changed({"seed": 1})))
    assert RESOLVED.read_text() == before
    first.close()
    same.close()
    write_resolved_config(load(changed({"seed": 1}))).close()
    assert RESOLVED.read_text() != before


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_on_a_file_system_without_locks_a_run_starts_and_says_so(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def flock(file: object, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    lock = leave_lock()
    _, alone = hold_folder(on_cluster=False)
    assert alone and not lock.exists()
    write_resolved_config(load(changed({})))
    assert RESOLVED.is_file()
    assert "start one at a time" in capsys.readouterr().err
