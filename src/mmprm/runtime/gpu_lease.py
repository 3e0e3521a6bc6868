"""GPUs for one job of several on a machine. In: how many. Out: CUDA_VISIBLE_DEVICES, of devices that no other job has.

A lease is a lock of the kernel's on a file a device (`flock`): it goes with the process, however that ends, so that a
killed job leaves none behind. Processes that a job forks hold it on, for they may use the device.

One job at a time waits for devices (a lock, too: the turn) and keeps those that it has until it has enough, so that
neither two jobs wait for each other, nor one that needs eight for ever.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log

VISIBLE, LOCKS = "CUDA_VISIBLE_DEVICES", "MMPRM_DEVICE_LOCKS"
_POLL_SECONDS = 0.25
_SAY_SECONDS = 60.0


@dataclass(frozen=True)
class Device:
    """A device as CUDA_VISIBLE_DEVICES names it, and by the name that all jobs know it by."""

    visible: str
    name: str


@contextmanager
def lease(count: int) -> Iterator[list[str]]:
    """Lease `count` devices for the block (and the process's children), and set CUDA_VISIBLE_DEVICES to them.

    Gives what CUDA_VISIBLE_DEVICES holds; an empty list, and changes nothing, where `count` is 0, where there are no
    GPUs, and under SLURM, which gives a job devices of its own. Waits while too few are free, and says so. UserError
    where the machine (or the CUDA_VISIBLE_DEVICES of whoever started the jobs) has fewer. Lock files are in
    MMPRM_DEVICE_LOCKS, by default a folder in the machine's temporary folder: jobs in containers must share it.
    """
    devices = [] if count == 0 or "SLURM_JOB_ID" in os.environ else pool()
    if not devices:
        yield []
        return
    if count > len(devices):
        raise UserError(
            f"--devices {count}: there are {len(devices)} GPUs ({_named(devices)}); lower engine.tensor_parallel or "
            "training.gpus, or the rule's resource gpu"
        )
    before = {key: os.environ.get(key) for key in (VISIBLE, "CUDA_DEVICE_ORDER")}
    with ExitStack() as held:
        taken = _take(devices, count, held)
        os.environ[VISIBLE] = ",".join(device.visible for device in taken)
        if before[VISIBLE] is None:
            os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # nvidia-smi's, whose numbers these are
        try:
            yield [device.visible for device in taken]
        finally:
            for key, value in before.items():
                os.environ.pop(key, None)
                os.environ |= {} if value is None else {key: value}


def _take(devices: Sequence[Device], count: int, held: ExitStack) -> list[Device]:
    folder = Path(os.environ.get(LOCKS) or Path(tempfile.gettempdir()) / "mmprm-devices")
    taken: list[Device] = []
    said = -_SAY_SECONDS
    with ExitStack() as turn:
        my_turn = False
        while True:
            my_turn = my_turn or _lock(folder / "turn", turn)
            for device in devices if my_turn else ():
                if len(taken) < count and device not in taken and _lock_of(folder, device, held):
                    taken.append(device)
            if len(taken) == count:
                return sorted(taken, key=devices.index)
            if time.monotonic() - said > _SAY_SECONDS:
                said = time.monotonic()
                have = f"{len(taken)} of them so far" if my_turn else "behind another job that waits"
                log.info(f"waiting for {count} of the GPUs {_named(devices)}, {have}; other jobs have them")
            time.sleep(_POLL_SECONDS)


def _lock_of(folder: Path, device: Device, held: ExitStack) -> bool:
    return _lock(folder / re.sub(r"[^A-Za-z0-9-]", "_", device.name), held)


def _lock(path: Path, held: ExitStack) -> bool:
    """Lock a file until `held` ends, unless another process has it. Files are shared by all users of the machine."""
    file = held.enter_context(_opened(path))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    return True


def _opened(path: Path) -> IO[bytes]:
    if not path.exists():
        if not path.parent.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.parent.chmod(0o1777)
        path.touch(0o666)
    return path.open("rb")  # another user's file can be read, and a lock needs no more


def pool() -> list[Device]:
    """The devices that jobs may have: those of CUDA_VISIBLE_DEVICES where it is set, else all that nvidia-smi lists."""
    given = os.environ.get(VISIBLE)
    if given is None:
        return _machine()
    wanted = [part.strip() for part in given.split(",")]
    wanted = wanted[: wanted.index("-1")] if "-1" in wanted else wanted  # CUDA sees none from there on
    machine = _machine() if any(wanted) else []
    return [Device(part, _known_as(part, machine)) for part in wanted if part]


def _known_as(given: str, machine: Sequence[Device]) -> str:
    """The name of a device that is given by its number or the beginning of its UUID."""
    alike = [one.name for one in machine if one.visible == given or (len(given) > 3 and one.name.startswith(given))]
    return alike[0] if len(alike) == 1 else given


def _machine() -> list[Device]:
    """What `nvidia-smi -L` lists: GPUs by number, and in place of one that is cut up its MIG devices by UUID."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return []
    found: list[Device] = []
    whole: Device | None = None
    for line in listed.splitlines():
        if gpu := re.match(r"GPU (\d+): .*\(UUID: (GPU-[^)]+)\)", line):
            whole = Device(gpu[1], gpu[2])
            found.append(whole)
        elif mig := re.match(r"\s+MIG .*\(UUID: (MIG-[^)]+)\)", line):
            if whole in found:
                found.remove(whole)
            found.append(Device(mig[1], mig[1]))
    return found


def _named(devices: Sequence[Device]) -> str:
    return ", ".join(device.visible for device in devices)
