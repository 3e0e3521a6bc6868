"""Lease GPUs to one job of several on a machine. In: how many. Out: CUDA_VISIBLE_DEVICES, of devices no other job has.

A lease is a kernel lock (`flock`) on one file per device: it ends with its process, so that a killed job leaves none
behind. Processes that a job forks keep it, since they may use the device.

One job at a time waits for devices (the `turn`, a lock as well) and keeps those that it has until it has enough, so
that no two jobs wait for each other, and a job that needs eight devices is not overtaken for ever.
"""

import os
import re
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mmprm.runtime.errors import UserError
from mmprm.runtime.locks import try_flock
from mmprm.runtime.log import log

VISIBLE, LOCKS = "CUDA_VISIBLE_DEVICES", "MMPRM_DEVICE_LOCKS"
_POLL_SECONDS = 0.25
_LOG_SECONDS = 60.0


@dataclass(frozen=True)
class Device:
    """A device: as CUDA_VISIBLE_DEVICES names it, and its name in all jobs."""

    visible: str
    name: str


@contextmanager
def lease(count: int) -> Iterator[list[str]]:
    """Lease `count` devices for the block (and the process's children), and set CUDA_VISIBLE_DEVICES to them.

    Yields the entries of CUDA_VISIBLE_DEVICES; an empty list, and changes nothing, if `count` is 0, if there are no
    GPUs, and under SLURM, which gives a job devices of its own. Waits while too few are free, and says so. UserError
    if the machine (or the CUDA_VISIBLE_DEVICES set when the jobs were started) has fewer. Lock files are in
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
    folder = _folder()
    taken: list[Device] = []
    logged = -_LOG_SECONDS
    with ExitStack() as turn:
        my_turn = False
        while True:
            my_turn = my_turn or _lock(folder / "turn", turn)
            for device in devices if my_turn else ():
                path = folder / re.sub(r"[^A-Za-z0-9-]", "_", device.name)
                if len(taken) < count and device not in taken and _lock(path, held):
                    taken.append(device)
            if len(taken) == count:
                return sorted(taken, key=devices.index)
            if time.monotonic() - logged > _LOG_SECONDS:
                logged = time.monotonic()
                have = f"{len(taken)} of them so far" if my_turn else "behind another job that waits"
                log.info(f"waiting for {count} of the GPUs {_names(devices)}, {have}; other jobs have them")
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


def _lock(path: Path, held: ExitStack) -> bool:
    """Lock a file until `held` ends, unless another process has it. UserError where it is no plain file."""
    # No link is followed, and no pipe waited for. To read another user's file is enough for a lock.
    try:
        number = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise UserError(f"{path}: cannot be opened as a lock ({error}); remove it, or set {LOCKS}") from error
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise UserError(f"{path}: not a plain file, as locks are; remove it, or set {LOCKS}")
    file = held.enter_context(os.fdopen(number, "rb"))
    locked = try_flock(file)
    if not locked:
        file.close()
    return locked


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
