"""Leases of GPUs, by real processes on simulated devices: no device has two jobs, and a dead job leaves none behind."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import getpass
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from waiting import HANG

from mmprm.runtime import gpu_lease
from mmprm.runtime.errors import UserError
from mmprm.runtime.gpu_lease import Device, lease, pool

HOLD = "import os, sys, time; from mmprm.runtime.gpu_lease import lease\nwith lease(int(sys.argv[1])) as own:\n"
HOLD += "    print(','.join(own), os.environ['CUDA_VISIBLE_DEVICES'], flush=True); time.sleep(float(sys.argv[2]))"
LISTED = """GPU 0: NVIDIA H100 (UUID: GPU-11aa-0)
GPU 1: NVIDIA H100 (UUID: GPU-22bb-1)
  MIG 3g.40gb     Device  0: (UUID: MIG-33cc-2)
  MIG 3g.40gb     Device  1: (UUID: MIG-44dd-3)
GPU 2: NVIDIA H100 (UUID: GPU-55ee-4)
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with lock files of its own, whose user sees devices a, b, c and d, and which is no SLURM's."""
    monkeypatch.setenv("MMPRM_DEVICE_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b,c,d")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return tmp_path


@pytest.fixture
def start(machine: Path) -> Iterator[Start]:
    """Starts a process that leases devices and holds them for so many seconds."""
    started: list[subprocess.Popen[str]] = []

    def run(count: int, seconds: float = HANG) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLD, str(count), str(seconds)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def own(process: subprocess.Popen[str]) -> set[str]:
    """What the process says that it leased; it waits until it says so."""
    assert process.stdout is not None
    said, visible = process.stdout.readline().split()
    assert said == visible
    return set(said.split(","))


def waits(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    said = process.stderr.readline()
    assert "waiting for" in said
    return said


def test_jobs_side_by_side_have_devices_of_their_own_and_as_many_as_they_asked_for(start: Start) -> None:
    jobs = [start(1), start(2), start(1)]
    leased = [own(job) for job in jobs]
    assert [len(found) for found in leased] == [1, 2, 1]
    assert set.union(*leased) == {"a", "b", "c", "d"}


def test_a_killed_job_frees_its_devices_and_a_waiting_one_says_that_it_waits(start: Start) -> None:
    whole, second = start(4), None
    assert own(whole) == {"a", "b", "c", "d"}
    second = start(3)
    assert "waiting for 3 of the GPUs a, b, c, d" in waits(second)
    assert second.poll() is None
    whole.send_signal(signal.SIGKILL)
    assert len(own(second)) == 3


def test_who_needs_many_is_not_passed_by_for_ever(start: Start) -> None:
    """While it waits it keeps what it gets, and later ones wait behind it; two such ones do not block each other."""
    two, other_two = start(2), start(2)
    own(two), own(other_two)
    first = start(3)
    assert "0 of them so far" in waits(first)
    second, single = start(3), start(1)
    assert all("behind another job" in waits(job) for job in (second, single))
    two.kill()
    time.sleep(1.0)
    assert [job.poll() for job in (first, second, single)] == [None] * 3, "two are free, and the first one's"
    other_two.kill()
    assert len(own(first)) == 3
    first.kill()
    assert (len(own(second)), len(own(single))) == (3, 1)


def test_many_jobs_on_few_devices_never_share_one(machine: Path) -> None:
    held = machine / "held"
    held.mkdir()
    claim = "import sys; from pathlib import Path; from mmprm.runtime.gpu_lease import lease\nimport time\n"
    claim += "for turn in range(15):\n with lease(1) as (one,):\n"
    claim += "  mine = Path(sys.argv[1]) / one; mine.mkdir(); time.sleep(.002); mine.rmdir()\n"
    claimers = [subprocess.Popen([sys.executable, "-c", claim, str(held)]) for _ in range(6)]
    assert [claimer.wait() for claimer in claimers] == [0] * 6, "a second one in the same place would fail"


def test_a_child_that_outlives_its_parent_keeps_the_device(start: Start) -> None:
    """Its memory is on the device until it ends."""
    fork = "import os, time; from mmprm.runtime.gpu_lease import lease\nwith lease(4):\n"
    fork += " child = os.fork()\n if child == 0: time.sleep(3600)\n print(child, flush=True); time.sleep(3600)"
    parent = subprocess.Popen([sys.executable, "-c", fork], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    waiting = start(1, 0)
    assert "0 of them so far" in waits(waiting)
    assert waiting.poll() is None
    os.kill(child, signal.SIGKILL)
    assert own(waiting) == {"a"}
    waiting.wait()


def test_the_environment_is_set_for_the_block_alone(machine: Path) -> None:
    with lease(2) as taken:
        assert taken == ["a", "b"] and os.environ["CUDA_VISIBLE_DEVICES"] == "a,b"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "a,b,c,d"


def test_more_than_there_are_is_an_error(machine: Path) -> None:
    with pytest.raises(UserError, match=r"--devices 5: there are 4 GPUs \(a, b, c, d\)"), lease(5):
        pass


@pytest.mark.parametrize(("visible", "job"), [("a,b", "7"), ("", None), ("-1", None)])
def test_under_slurm_and_without_gpus_nothing_happens(
    machine: Path, monkeypatch: pytest.MonkeyPatch, visible: str, job: str | None
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    if job:
        monkeypatch.setenv("SLURM_JOB_ID", job)
    with lease(1) as taken:
        assert taken == [] and os.environ["CUDA_VISIBLE_DEVICES"] == visible
    assert not (machine / "locks").exists()


def test_no_devices_are_asked_for_and_none_is_locked(machine: Path) -> None:
    with lease(0) as taken:
        assert taken == [] and not (machine / "locks").exists()


@pytest.fixture
def nvidia_smi(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An nvidia-smi that lists a GPU, one that is cut up, and another GPU."""
    tool = machine / "bin/nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{LISTED}END\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")


@pytest.mark.usefixtures("nvidia_smi")
def test_all_devices_of_the_machine_are_the_pool_where_the_user_names_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    expected = {"0": "GPU-11aa-0", "MIG-33cc-2": "MIG-33cc-2", "MIG-44dd-3": "MIG-44dd-3", "2": "GPU-55ee-4"}
    assert pool() == [Device(*pair) for pair in expected.items()]
    with lease(2) as taken:
        assert taken == ["0", "MIG-33cc-2"] and os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ and "CUDA_DEVICE_ORDER" not in os.environ


@pytest.mark.usefixtures("nvidia_smi")
def test_a_device_is_the_same_by_its_number_and_by_its_uuid(monkeypatch: pytest.MonkeyPatch, start: Start) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", " 2, GPU-11, MIG-44dd-3, -1, 0")
    assert pool() == [Device("2", "GPU-55ee-4"), Device("GPU-11", "GPU-11aa-0"), Device("MIG-44dd-3", "MIG-44dd-3")]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    assert own(start(1)) == {"2"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-55ee-4,0")
    assert own(start(1)) == {"0"}, "the other one is leased, under another name"


def test_without_nvidia_smi_there_are_no_devices(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", str(machine))
    assert gpu_lease.pool() == []


def test_a_verb_leases_before_it_loads_anything(machine: Path) -> None:
    needed = [part for name in ("config", "policy", "seeds", "work", "out") for part in (f"--{name}", "no")]
    command = ["annotate", *needed, "--shard", "0-of-1", "--devices", "5"]
    verb = [sys.executable, "-c", "from mmprm.cli import app; app()", *command]
    done = subprocess.run(verb, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "--devices 5: there are 4 GPUs" in done.stderr


def test_who_waits_is_told_who_has_the_devices_and_since_when_and_gives_up_in_the_end(
    start: Start, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = start(4)
    own(holder)
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"
    owner = f"{getpass.getuser()}, process {holder.pid} on {socket.gethostname()}, since {when}"
    second = start(2)
    assert re.search(f"0 of them so far; a: {owner} .*; b: {owner}", waits(second))
    monkeypatch.setenv("MMPRM_DEVICE_WAIT", "0.0003")
    first_in_turn = rf"behind another job that waits; turn: .*process {second.pid} .*Gave up after 0\.000\d+ hours"
    with pytest.raises(UserError, match=f"{first_in_turn}.*MMPRM_DEVICE_WAIT.*CUDA_VISIBLE_DEVICES"), lease(1):
        pass
    second.kill()
    second.wait()
    with pytest.raises(UserError, match=f"waiting for 1 of .* a: {owner} .*fuser -v {machine}/locks/a"), lease(1):
        pass
    holder.kill()
    holder.wait()
    with lease(1) as taken:
        assert taken == ["a"]


@pytest.mark.parametrize("hours", ["soon", "1,5"])
def test_a_time_that_is_no_number_of_hours_is_named(hours: str, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMPRM_DEVICE_WAIT", hours)
    with pytest.raises(UserError, match=f"MMPRM_DEVICE_WAIT={hours}: not a number of hours"), lease(1):
        pass


@pytest.mark.parametrize("note", [b"", b"\xff\x1b[31m" * 5000])
def test_a_foreign_lock_without_a_readable_note_hangs_nothing(
    note: bytes, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine / "locks").mkdir()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a")
    monkeypatch.setenv("MMPRM_DEVICE_WAIT", "0.0001")
    with (machine / "locks/a").open("wb") as foreign:
        foreign.write(note)
        foreign.flush()
        fcntl.flock(foreign, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="Gave up") as raised, lease(1):
            pass
    assert "\x1b" not in str(raised.value) and len(str(raised.value)) < 1000


def test_two_users_share_a_folder_of_locks_as_open_as_tmp(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In such a folder Linux lets nobody open another's file who asks to create it (fs.protected_regular)."""
    if os.getuid():
        pytest.skip("only root can be two users")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o1777)
        monkeypatch.setenv("MMPRM_DEVICE_LOCKS", folder)
        before = os.umask(0o022)
        with lease(4):
            pass
        os.umask(before)
        child = os.fork()
        if not child:
            status = 1
            with contextlib.suppress(BaseException):
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
                with lease(2):
                    status = 0 if str(os.getpid()) in (Path(folder) / "b").read_text() else 2
            os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_a_file_system_without_locks_is_named(number: int, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(file: object, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UserError, match=r"no locks there .*MMPRM_DEVICE_LOCKS"), lease(1):
        pass


@pytest.mark.parametrize("trap", ["a link", "a pipe", "a folder"])
def test_what_somebody_put_in_the_place_of_a_lock_is_named_and_neither_followed_nor_waited_for(
    trap: str, machine: Path
) -> None:
    place = machine / "locks/a"
    place.parent.mkdir()
    if trap == "a link":
        place.symlink_to(machine / "elsewhere")
    elif trap == "a pipe":
        os.mkfifo(place)
    else:
        place.mkdir()
    with pytest.raises(UserError, match="MMPRM_DEVICE_LOCKS"), lease(1):
        pass
    assert not (machine / "elsewhere").exists()


def test_the_folder_of_locks_is_the_users_own(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMPRM_DEVICE_LOCKS")
    monkeypatch.setattr(tempfile, "tempdir", str(machine))
    with lease(1):
        (folder,) = machine.glob("mmprm-devices-*")
        assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(UserError, match="not a folder of yours alone"), lease(1):
        pass
