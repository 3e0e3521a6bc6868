"""Where something was made: code, versions, machine, command, time. In: this process. Out: plain values for a manifest.

It is published with a model: it names no folder, user or host.
"""

import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[3]
_PACKAGES = ("mmprm", "torch", "transformers", "deepspeed", "vllm", "pyarrow", "numpy", "snakemake")


def provenance() -> dict[str, Any]:
    """Return commit (None without git), SHA-256 of the locks, versions, hardware, command, UTC time and load."""
    return {
        "commit": _commit(),
        "locks": {path.name: _hash(path) for path in sorted((_ROOT / "envs").glob("lock-*.txt"))},
        "python": platform.python_version(),
        "versions": dict(_versions(_PACKAGES)),
        "machine": {"system": platform.system(), "kind": platform.machine(), "cores": os.cpu_count(), "gpus": _gpus()},
        "command": ["mmprm", *(Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:])],
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def _commit() -> str | None:
    if not (_ROOT / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            text=True,
            capture_output=True,
            check=False,
        )
    except OSError:
        return None
    return done.stdout.strip() or None


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _versions(names: Iterable[str]) -> Iterable[tuple[str, str]]:
    for name in names:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue


def _gpus() -> list[str]:
    """Name the GPUs of a process that has loaded torch."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
