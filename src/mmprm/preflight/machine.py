"""What the machine has. In: the configuration's `hardware`. Out: GPUs, their memory and speed, main memory, disk."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from mmprm.config.planning import CARDS, Hardware

GIB = 2**30


@dataclass(frozen=True)
class Machine:
    """A node: what the configuration names, or else what is found here; None where neither tells."""

    gpus: int | None
    gpu_bytes: float | None
    tflops: float | None
    bandwidth: float | None
    memory: float | None
    disk: float | None
    name: str

    @property
    def is_cpu(self) -> bool:
        """Whether it is known to have no GPU."""
        return self.gpus == 0


def machine_of(hardware: Hardware, results: Path, here: bool = True) -> Machine:
    """Describe the node. here: whether jobs run on this machine; else only what the configuration names counts."""
    named = hardware.gpu or hardware.gpu_memory_gib
    cards = [] if (named and hardware.gpus is not None) or not here else _nvidia_smi()
    gpus = hardware.gpus if hardware.gpus is not None else (len(cards) if here else None)
    card = CARDS.get(hardware.gpu or _known(cards[0][0] if cards else "") or "")
    gpu_bytes = hardware.gpu_memory_gib or (card[0] if hardware.gpu and card else None)
    found = cards[0][1] if cards else None
    return Machine(
        gpus=gpus,
        gpu_bytes=gpu_bytes * GIB if gpu_bytes else found,
        tflops=hardware.tflops or (card[1] if card else None),
        bandwidth=hardware.bandwidth or (card[2] if card else None),
        memory=hardware.memory_gib * GIB if hardware.memory_gib else (_main_memory() if here and not named else None),
        disk=hardware.disk_gib * GIB if hardware.disk_gib else _free(results),
        name=hardware.gpu or (cards[0][0] if cards else "CPU" if gpus == 0 else "GPU"),
    )


def _nvidia_smi() -> list[tuple[str, float]]:
    """List name and bytes of this machine's GPUs."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    cards = []
    for line in listed.splitlines():
        name, _, memory = line.rpartition(",")
        if memory.strip().isdigit():
            cards.append((name.strip(), float(memory) * 2**20))
    return cards


def _known(name: str) -> str | None:
    """Return the card of CARDS that nvidia-smi's name is of."""
    plain = name.lower().replace(" ", "").replace("geforce", "").replace("nvidia", "")
    if "a100" in plain and "40gb" in plain:
        return "a100-40"
    return next((card for card in sorted(CARDS, key=len, reverse=True) if card in plain), None)


def _main_memory() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((float(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:")), None)


def _free(results: Path) -> float | None:
    """Return the free bytes where results will lie."""
    place = next((folder for folder in (results, *results.resolve().parents) if folder.exists()), None)
    return float(shutil.disk_usage(place).free) if place else None
