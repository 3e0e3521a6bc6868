"""Runs the parts, each in a process of its own under its own time limit. In: options. Out: one JSON line a part.

A part that has ended well is in the file of results and is not run again; one that failed, or ran past its limit, is
there with its error, and is tried again by the next call. `--seconds` bounds the whole: what it leaves out is said.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from perf.common import machine, say

ROOT = Path(__file__).parents[2]
_TAIL = 1500  # characters of what a part that failed said
Json = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A part: its limit in seconds, the module and function that run it, and what they are given."""

    limit: int
    module: str
    function: str
    given: tuple[str, ...] = ()

    def run(self, work: Path, small: bool) -> Json:
        """Run it in this process."""
        if self.module == "models":
            from perf.gpu import models

            return models.make(self.given[0], work / self.given[0])
        if self.module == "correct":
            from perf.gpu import correct

            return dict(getattr(correct, self.function)(work, small))
        from perf.gpu import speed

        return dict(getattr(speed, self.function)(*self.given, work, small))


def _of_model(name: str, make: int, train: int) -> dict[str, Part]:
    """Return the parts of a model: its folder, then what is measured on it. make, train: limits in seconds."""
    trainings = [("sft", "paths"), ("sft", "packed"), ("prm", "paths"), ("prm", "trees")]
    if name == "8b":  # ten minutes hold no more
        trainings = [("sft", "packed"), ("prm", "trees")]
    return {
        f"model-{name}": Part(make, "models", "make", (name,)),
        **{f"{stage}-{name}-{how}": Part(train, "speed", "train", (name, stage, how)) for stage, how in trainings},
        f"score-{name}": Part(train, "speed", "score", (name,)),
        f"sample-{name}": Part(train, "speed", "sample", (name,)),
    }


_CORRECT = {
    "losses": Part(60, "correct", "losses"),
    "trees": Part(120, "correct", "trees"),
    "scores": Part(120, "correct", "scores"),
}
PARTS = {**_CORRECT, **_of_model("1b", 90, 75), **_of_model("8b", 150, 120)}
# Tried where a machine may be busy with much else: there the limits are against hangs alone.
SMALL = {name: replace(part, limit=900) for name, part in {**_CORRECT, **_of_model("tiny", 0, 0)}.items()}


def done(results: Path, device: str) -> set[str]:
    """Return the parts that have ended well on this kind of device, by the file of results."""
    lines = results.read_text(encoding="utf-8").splitlines() if results.is_file() else []
    rows = [json.loads(line) for line in lines if line.endswith("}")]
    return {row["part"] for row in rows if row["device"] == device and row["error"] is None}


def attempt(name: str, limit: float, small: bool, work: Path, device: str) -> Json:
    """Run a part in a process of its own; its whole process group ends at the limit."""
    command = [sys.executable, "-m", "perf.gpu", "--part", name, "--work", str(work)] + ["--small"] * small
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    began, found, error = time.monotonic(), {}, None
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out, tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | hidden, stdout=out, stderr=said, start_new_session=True
        )
        try:
            status: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        out.seek(0)
        said.seek(0)
        lines = out.read().splitlines()
        if status is None:
            error = f"it ran past its {limit:.0f} seconds"
        elif status or not lines:
            error = said.read().strip()[-_TAIL:] or f"status {status}"
        else:
            found = json.loads(lines[-1])
    row = {"part": name, "device": device, "error": error, "seconds": round(time.monotonic() - began, 1)}
    return row | found


def run_all(parts: dict[str, Part], given: argparse.Namespace) -> int:
    """Run the parts that are not done, while the time lasts. Returns how many of all did not end well."""
    given.results.parent.mkdir(parents=True, exist_ok=True)
    given.work.mkdir(parents=True, exist_ok=True)
    finished, end = done(given.results, given.device), time.monotonic() + given.seconds
    failed = 0
    for name, part in parts.items():
        if name in finished and not (part.module == "models" and _lacks(part, parts, finished, given.work)):
            continue
        left = end - time.monotonic()
        if left < 5:
            say(f"{name}: no time left; call it again")
            failed += 1
            continue
        row = attempt(name, min(part.limit, left), given.small, given.work, given.device)
        with given.results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)
        failed += row["error"] is not None
    return failed


def _lacks(part: Part, parts: dict[str, Part], finished: set[str], work: Path) -> bool:
    """Tell whether the folder of a model is gone, and a part that is not done reads it."""
    reads = [name for name, other in parts.items() if other.given[:1] == part.given[:1]]
    return not set(reads) <= finished and not (work / part.given[0] / "manifest.json").is_file()


def one(part: Part, work: Path, small: bool) -> None:
    """Run a part in this process, and print what it found as the last line."""
    found = part.run(work, small)
    import torch
    import transformers

    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "machine": machine()}
    print(json.dumps(found | versions), flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("perf/gpu.sh", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="(%(default)s)")
    parser.add_argument("--small", action="store_true", help="a tiny model and few rows: does the script run?")
    parser.add_argument("--work", type=Path, default=Path("results/gpu"), help="folder of the models (%(default)s)")
    parser.add_argument("--results", type=Path, help="file of the JSON lines (WORK/parts.jsonl)")
    parser.add_argument("--seconds", type=float, default=580, help="of all parts together (%(default)s)")
    parser.add_argument("--only", nargs="+", metavar="PART", help="these parts alone")
    parser.add_argument("--keep", action="store_true", help="keep the models' folders (19 GB) when all is done")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    given.work = given.work.resolve()
    given.results = given.results or given.work / "parts.jsonl"
    parts = SMALL if given.small else PARTS
    if unknown := set([given.part] if given.part else given.only or ()) - set(parts):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    if given.part:
        one(parts[given.part], given.work, given.small)
        return
    chosen = {name: part for name, part in parts.items() if not given.only or name in given.only}
    failed = run_all(chosen, given)
    if not failed and not given.keep:
        for model in ("tiny", "1b", "8b"):
            shutil.rmtree(given.work / model, ignore_errors=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
