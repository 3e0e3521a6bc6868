"""Lease GPUs to one job of several on a machine. In: how many. Out: CUDA_VISIBLE_DEVICES, of devices no other job has.

A lease is a kernel lock (`flock`) on one file per device: it ends with its process, so that a killed job leaves none
behind. Processes that a job forks keep it, since they may use the device.

One job at a time waits for devices (the `turn`, a lock as well) and keeps those that it has until it has enough, so
that no two jobs wait for each other, and a job that needs eight devices is not overtaken for ever.

A lock's file names its owner, for those who wait; they give up after MMPRM_DEVICE_WAIT hours (24).
"""

import contextlib
import getpass
import math
import os
import re
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mmprm.runtime.errors import UserError
from mmprm.runtime.locks import try_flock
from mmprm.runtime.log import log

VISIBLE, LOCKS, WAIT = "CUDA_VISIBLE_DEVICES", "MMPRM_DEVICE_LOCKS", "MMPRM_DEVICE_WAIT"
_POLL_SECONDS = 0.25
_LOG_SECONDS = 60.0
_WAIT_HOURS = 24.0


@dataclass(frozen=True)
class Device:
    """A device: as CUDA_VISIBLE_DEVICES names it, and its name in all jobs."""

    visible: str
    name: str


@contextmanager
def lease(count: int) -> Iterator[list[str]]:
    """Lease `count` devices for the block (and the process's children), and set CUDA_VISIBLE_DEVICES to them.

    Yields the entries of CUDA_VISIBLE_DEVICES; an empty list, and changes nothing, if `count` is 0, if there are no
    GPUs, and under SLURM, which gives a job devices of its own. Waits while too few are free, and says who has them.
    UserError after MMPRM_DEVICE_WAIT hours, and if the machine (or the CUDA_VISIBLE_DEVICES set when the jobs were
    started) has fewer. Lock files are in
    MMPRM_DEVICE_LOCKS, by default a folder of the user's own in the machine's temporary folder: jobs in containers, and
    users who share GPUs without SLURM, must share it.
    """
    devices = [] if count == 0 or "SLURM_JOB_ID" in os.environ else pool()
    if not devices:
        yield []
        return
    if count > len(devices):
        raise UserError(
            f"--devices {count}: there are {len(devices)} GPUs ({_names(devices)}); lower engine.tensor_parallel or "
            "training.gpus, or the rule's resource gpu"
        )
    before = {key: os.environ.get(key) for key in (VISIBLE, "CUDA_DEVICE_ORDER")}
    with ExitStack() as held:
        taken = _take(devices, count, held)
        os.environ[VISIBLE] = ",".join(device.visible for device in taken)
        if before[VISIBLE] is None:
            os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # nvidia-smi's order, whose numbers these are
        try:
            yield [device.visible for device in taken]
        finally:
            for key, value in before.items():
                os.environ.pop(key, None)
                os.environ |= {} if value is None else {key: value}


def _take(devices: Sequence[Device], count: int, held: ExitStack) -> list[Device]:
    folder, patience = _folder(), _patience()
    paths = {device: folder / re.sub(r"[^A-Za-z0-9-]", "_", device.name) for device in devices}
    taken: list[Device] = []
    started, logged = time.monotonic(), -math.inf
    with ExitStack() as turn:
        my_turn = False
        while True:
            my_turn = my_turn or _lock(folder / "turn", turn)
            for device in devices if my_turn else ():
                if len(taken) < count and device not in taken and _lock(paths[device], held):
                    taken.append(device)
            if len(taken) == count:
                return sorted(taken, key=devices.index)
            waited = time.monotonic() - started
            if waited - logged > _LOG_SECONDS or waited > patience:
                logged = waited
                have = f"{len(taken)} of them so far" if my_turn else "behind another job that waits"
                asked = [paths[device] for device in devices if device not in taken] if my_turn else [folder / "turn"]
                who = f"waiting for {count} of the GPUs {_names(devices)}, {have}; {'; '.join(map(_owner, asked))}"
                if waited > patience:
                    raise UserError(
                        f"{who}. Gave up after {waited / 3600:.3g} hours ({WAIT} sets how many): wait for the end of "
                        f"these jobs or end them, or name other GPUs in {VISIBLE}"
                    )
                log.info(who)
            time.sleep(_POLL_SECONDS)


def _folder() -> Path:
    """Return the folder of the lock files, made where it is missing; UserError where another user could meddle."""
    if named := os.environ.get(LOCKS):
        Path(named).mkdir(parents=True, exist_ok=True)
        return Path(named)
    folder = Path(tempfile.gettempdir()) / f"mmprm-devices-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise UserError(
            f"{folder}: not a folder of yours alone, and leases of GPUs are there; remove it, or set {LOCKS}"
        )
    return folder


def _patience() -> float:
    """Return how many seconds to wait at most."""
    hours = os.environ.get(WAIT) or _WAIT_HOURS
    try:
        return 3600 * float(hours)
    except ValueError:
        raise UserError(f"{WAIT}={hours}: not a number of hours") from None


def _lock(path: Path, held: ExitStack) -> bool:
    """Lock a file until `held` ends, and write the owner into it; False where another process has it.

    UserError where it is no plain file, or its file system has no locks.
    """
    try:
        number = _opened(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be opened as a lock ({error}); remove it, or set {LOCKS}") from error
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise UserError(f"{path}: not a plain file, as locks are; remove it, or set {LOCKS}")
    file = held.enter_context(os.fdopen(number, "rb"))
    try:
        locked = try_flock(file)
    except OSError as error:
        raise UserError(
            f"{path}: no locks there ({error.strerror}); set {LOCKS} to a folder on a disk of this machine"
        ) from error
    if not locked:
        file.close()
        return False
    with contextlib.suppress(OSError):  # another user's file of an earlier version: nothing depends on its note
        note = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC)
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        os.write(note, f"{_user()}, process {os.getpid()} on {socket.gethostname()}, since {since}\n".encode())
        os.close(note)
    return True


def _opened(path: Path) -> int:
    """Open a lock file, made where it is missing. No link is followed, and no pipe waited for."""
    # To read another user's file is enough for a lock. Asked to create it, Linux refuses it in a folder like /tmp.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        number = os.open(path, flags | os.O_CREAT, 0o666)
    with contextlib.suppress(OSError):  # those who share the folder write their names into it
        os.fchmod(number, 0o666)
    return number


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the machine does not know the user, as in containers
        return f"user {os.getuid()}"


def _owner(path: Path) -> str:
    """Say who has the lock of a file."""
    try:
        text = path.read_bytes()[:200].decode(errors="replace")
        name = "".join(character for character in text if character.isprintable())
    except OSError:
        name = ""
    return f"{path.name}: {name or 'another process'} (`fuser -v {path}` shows it)"


def pool() -> list[Device]:
    """Return the devices that jobs may have: those of CUDA_VISIBLE_DEVICES if it is set, else all of nvidia-smi."""
    visible = os.environ.get(VISIBLE)
    if visible is None:
        return _machine()
    wanted = [part.strip() for part in visible.split(",")]
    wanted = wanted[: wanted.index("-1")] if "-1" in wanted else wanted  # CUDA sees none from there on
    machine = _machine() if any(wanted) else []
    return [Device(part, _name_of(part, machine)) for part in wanted if part]


def _name_of(part: str, machine: Sequence[Device]) -> str:
    """Return the name of a device that CUDA_VISIBLE_DEVICES gives as a number or the beginning of a UUID."""
    names = [gpu.name for gpu in machine if gpu.visible == part or (len(part) > 3 and gpu.name.startswith(part))]
    return names[0] if len(names) == 1 else part


def _machine() -> list[Device]:
    """List the GPUs of `nvidia-smi -L` by number, and the MIG devices of a partitioned one by UUID."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return []
    devices: list[Device] = []
    gpu: Device | None = None
    for line in listed.splitlines():
        if match := re.match(r"GPU (\d+): .*\(UUID: (GPU-[^)]+)\)", line):
            gpu = Device(match[1], match[2])
            devices.append(gpu)
        elif match := re.match(r"\s+MIG .*\(UUID: (MIG-[^)]+)\)", line):
            if gpu in devices:  # it cannot be used as a whole
                devices.remove(gpu)
            devices.append(Device(match[1], match[1]))
    return devices


def _names(devices: Sequence[Device]) -> str:
    return ", ".join(device.visible for device in devices)
