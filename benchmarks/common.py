"""What the benchmarks share: the name of the machine, progress on stderr, the JSON line on stdout."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def machine() -> str:
    """The processor and how many of its cores this process may use; the GPU too, where torch is loaded and has one."""
    cores = len(os.sched_getaffinity(0))
    names = [line.partition(":")[2].strip() for line in _cpu_info() if line.startswith("model name")]
    text = f"{names[0] if names else 'unknown processor'}, {cores} core{'s' if cores > 1 else ''}"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        text += f", {torch.cuda.get_device_name()}"
    return text


def _cpu_info() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []


def say(message: str) -> None:
    """One line on stderr."""
    print(f"benchmark: {message}", file=sys.stderr, flush=True)


def finish(result: dict[str, Any]) -> None:
    """The result as one JSON line on stdout."""
    print(json.dumps(result), flush=True)
