"""What the timing scripts share: the name of the machine, progress on stderr, the JSON line on stdout."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from mmprm.runtime.errors import UserError

T = TypeVar("T")


def machine() -> str:
    """Name the processor and how many of its cores this process may use, and the GPU that a loaded torch has."""
    cores = len(os.sched_getaffinity(0))
    names = [line.partition(":")[2].strip() for line in _cpu_info() if line.startswith("model name")]
    text = f"{names[0] if names else 'unknown processor'}, {cores} core{'s' if cores > 1 else ''}"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        text += f", {torch.cuda.get_device_name()}"
    return text


def _cpu_info() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def say(message: str) -> None:
    """Print one line on stderr."""
    print(f"timing: {message}", file=sys.stderr, flush=True)


def finish(result: dict[str, Any]) -> None:
    """Print the result as one JSON line on stdout."""
    print(json.dumps(result), flush=True)


@contextmanager
def user_errors(name: str) -> Iterator[None]:
    """End the command perf.<name> with the text of a UserError in the block, and status 2."""
    try:
        yield
    except UserError as error:
        print(f"perf.{name}: {error}", file=sys.stderr)
        sys.exit(2)


def need(*paths: Path) -> None:
    """Raise UserError where a file or folder of a run is missing."""
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} is missing; `make run` makes results/mini, or name another run's files")


def spread(values: Sequence[T], count: int, holder: str) -> list[T]:
    """Return `count` of the values at even distances, as neighbours are often alike. UserError where it has fewer."""
    if len(values) < count:
        raise UserError(f"--problems {count}: {holder} has {len(values)}")
    return [values[place * len(values) // count] for place in range(count)]
