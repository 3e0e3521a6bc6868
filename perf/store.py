"""Assembling the examples of supervised fine-tuning: rows a second of a core, memory, a kill and the resumption.

The rows are of real size: a JPEG of 800 x 600 pixels each (a few pictures, each row's with bytes of its own), questions
and solutions of some 300 tokens, InternVL's tiles of 448 pixels, at most 12 of them, 256 tokens each. One run is killed
when half of the shards are there, and a second one goes on. Out: one JSON line.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np

from mmprm.config import Training
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, row_of
from mmprm.mini import base_model
from mmprm.model import folders, hf_env
from mmprm.training.assembly import cores
from mmprm.training.example_store import ExampleIndex, StoredExamples
from mmprm.training.examples import digest
from mmprm.training.policy_examples import assemble_solutions, shards_of
from mmprm.training.update_plan import examples_by_update, update_plan
from perf.common import finish, machine, say, user_errors

ROOT = Path(__file__).parents[1]
PAPER = 5_000_000  # rows of MM-PRM's fine-tuning (arXiv 2505.13427)
_PICTURES = 8
_TEXTS = 64


def base(folder: Path) -> Path:
    """Write a model folder whose processor makes InternVL's tiles, with the mini model's tokenizer and weights."""
    hf_env.prepare()
    small = base_model.processor()
    folders.add_control_tokens(small)
    base_model.save(folder, base_model.model(small.tokenizer), small)
    tiled_processor(small.tokenizer, 448, 256, 12).save_pretrained(folder)
    return folder


def tiled_processor(words: Any, side: int, tokens: int, most: int) -> Any:
    """Build InternVL's processor: at most `most` tiles of side x side pixels and a thumbnail, `tokens` each."""
    hf_env.prepare()
    from transformers import GotOcr2ImageProcessor, InternVLProcessor, InternVLVideoProcessor

    size = {"height": side, "width": side}
    return InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(size=size, crop_to_patches=True, min_patches=1, max_patches=most),
        tokenizer=words,
        video_processor=InternVLVideoProcessor(size=size),
        image_seq_length=tokens,
        chat_template=base_model.CHAT_TEMPLATE,
    )


def pictures() -> list[bytes]:
    """Draw pictures with as much detail as a photograph: some 110 kB each."""
    from PIL import Image

    rng = np.random.default_rng(0)
    encoded = []
    for _ in range(_PICTURES):
        coarse = Image.fromarray(rng.integers(0, 256, (150, 200, 3), dtype=np.uint8))
        file = io.BytesIO()
        coarse.resize((800, 600), Image.Resampling.BICUBIC).save(file, "JPEG", quality=75)
        encoded.append(file.getvalue())
    return encoded


def texts() -> list[tuple[str, str]]:
    """Draw questions and step-tagged solutions of some 300 tokens together."""
    rng = random.Random(0)
    drawn = []
    for _ in range(_TEXTS):
        a, b = rng.randrange(10, 99), rng.randrange(10, 99)
        question = f"The bar A is {a} high and the bar B is {b} high. " * 3 + "Find A + B of each step."
        steps = [f"step {n}: A + B * {n} = {a} + {b * n} = {a + b * n}, so it is {a + b * n}" for n in range(1, 9)]
        drawn.append((question, "".join(f"<step>{step}</step>" for step in steps) + f"<answer>{a + b * 8}</answer>"))
    return drawn


def make(path: Path, rows: int) -> None:
    """Write a problem table."""

    def problems() -> Iterator[dict[str, Any]]:
        images, words = pictures(), texts()
        for number in range(rows):
            question, solution = words[number % _TEXTS]
            # What follows a JPEG's end is not read: another picture for whoever compares them.
            picture = images[number % _PICTURES] + number.to_bytes(8, "big")
            yield row_of(Problem(f"row-{number:08d}", "perf", question, "1", (picture,), solution=solution))

    tables.write(path, problems(), schemas.PROBLEMS)


def assemble(folder: Path) -> dict[str, Any]:
    """Assemble the table of the folder."""
    begun = time.perf_counter()
    found = assemble_solutions([folder / "rows.parquet"], folder / "base", folder / "store" / "examples")
    index = found.examples.example_index
    tokens, labels = sum(index.lengths), sum(index.n_labels)
    return {"seconds": round(time.perf_counter() - begun, 1), "examples": len(index.lengths)} | {
        "tokens_an_example": round(tokens / len(index.lengths)),
        "labels_an_example": round(labels / len(index.lengths)),
    }


def plan(rows: int) -> dict[str, Any]:
    """Plan the training of so many examples, as each of its processes does, and hash the plan."""
    lengths = array("i", np.random.default_rng(0).integers(1000, 4000, rows).astype(np.int32).tobytes())
    begun = time.perf_counter()
    training = Training(learning_rate=4e-5, batch_size=128, micro_batch_size=4)
    lots, n_parts = update_plan(ExampleIndex(cast(Any, range(rows)), lengths, lengths), training, 8, seed=0)
    digest((), examples_by_update(lots, n_parts))
    return {"rows": rows, "seconds": round(time.perf_counter() - begun, 1)}


def read(folder: Path) -> dict[str, Any]:
    """Read examples in a random order."""
    examples = StoredExamples(folder / "store" / "examples")
    chosen = random.Random(0).sample(range(len(examples)), min(2000, len(examples)))
    begun = time.perf_counter()
    n_bytes = sum(len(image) for index in chosen for image in examples[index].images)
    seconds = time.perf_counter() - begun
    return {"examples_a_second": round(len(chosen) / seconds), "image_kb": round(n_bytes / len(chosen) / 1000)}


class Watched:
    """A part in processes of its own: how much memory they have together, at most, and how long they compute."""

    def __init__(self, part: str, folder: Path, *more: int) -> None:
        command = [sys.executable, "-m", "perf.store", "--part", part, "--folder", str(folder), *map(str, more)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.part, self.peak_kb, self._ended = part, 0, threading.Event()
        self._watch = threading.Thread(target=self._measure, daemon=True)
        self._watch.start()

    def _measure(self) -> None:
        while not self._ended.wait(0.2):
            self.peak_kb = max(self.peak_kb, memory_kb(self.process.pid))

    def kill(self) -> None:
        """Kill the first process as the kernel would for lack of memory; the others end with it."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._ended.set()

    def result(self) -> dict[str, Any]:
        """Wait for the end, and return what the part says of itself with peak memory and CPU seconds."""
        assert self.process.stdout is not None
        output = self.process.stdout.read()
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self._ended.set()
        if self.process.returncode:
            raise SystemExit(f"perf.store: {self.part} ended with status {self.process.returncode}")
        found: dict[str, Any] = json.loads(output.splitlines()[-1])
        found |= {"cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1)}
        # The kernel's own maximum would count what the parent held when it started the part.
        found["peak_mb"] = round(self.peak_kb / 1024)
        say(f"{self.part}: {found}")
        return found


def memory_kb(pid: int) -> int:
    """Return what a process and its children hold (Pss: shared pages are divided among them); 0 when it has ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
        own = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    except (OSError, StopIteration):
        return 0
    return own + sum(memory_kb(int(child)) for child in children)


def killed_and_resumed(folder: Path, n_shards: int) -> dict[str, Any]:
    """Kill the assembly when half of the shards are there, and let another go on."""
    store = folder / "store" / "examples"
    first = Watched("assemble", folder)
    while first.process.poll() is None and len(list(store.glob("*.json"))) < n_shards // 2:
        time.sleep(0.2)
    if first.process.poll() is not None:
        raise SystemExit(f"perf.store: it ended before it could be killed, with status {first.process.returncode}")
    first.kill()
    there = {file: file.stat().st_mtime_ns for file in store.glob("*.json")}
    say(f"killed with {len(there)} of {n_shards} shards")
    resumed = Watched("assemble", folder).result()
    kept = [file for file, changed in there.items() if file.stat().st_mtime_ns == changed]
    made = resumed["examples"] - sum(sum(json.loads(file.read_text(encoding="utf-8"))["batches"]) for file in kept)
    result = {"shards": n_shards, "at_the_kill": len(there), "kept": len(kept), "rows_made_after_it": made}
    return result | {"peak_mb_before_it": round(first.peak_kb / 1024), "resumed": resumed}


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "assemble": assemble,
    "read": read,
    "plan": lambda _, rows: plan(rows),
}


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m perf.store", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000, help="of the table (%(default)s)")
    parser.add_argument("--planned", type=int, default=PAPER, help="examples of the plan (%(default)s)")
    parser.add_argument("--folder", type=Path, help="where the tables are made (a temporary folder)")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("more", type=int, nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.part:
        finish(PARTS[given.part](given.folder, *given.more))
        return
    if given.rows < 1 or given.planned < 1:
        parser.error("every number must be at least 1")
    with user_errors("store"), tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        folder = Path(scratch)
        base(folder / "base")
        begun = time.perf_counter()
        make(folder / "rows.parquet", given.rows)
        say(f"{given.rows} rows made in {time.perf_counter() - begun:.0f} s")
        finish(measured(folder, given.rows, given.planned) | {"machine": machine()})


def measured(folder: Path, rows: int, planned: int) -> dict[str, Any]:
    """Measure all parts on the folder's table."""
    result: dict[str, Any] = {"rows": rows, "processes": cores()}
    n_shards = len(shards_of(folder / "rows.parquet"))
    if n_shards > 1:
        killed = killed_and_resumed(folder, n_shards)
        result |= killed
        a_row = killed["resumed"]["cpu_seconds"] / killed["rows_made_after_it"]
    else:
        result["whole"] = Watched("assemble", folder).result()
        a_row = result["whole"]["cpu_seconds"] / rows
    n_bytes = {"table": (folder / "rows.parquet").stat().st_size}
    n_bytes["store"] = sum(file.stat().st_size for file in (folder / "store" / "examples").iterdir())
    return result | {
        "rows_a_core_second": round(1 / a_row),
        "checked_again": Watched("assemble", folder).result(),
        "read": Watched("read", folder).result(),
        "plan": Watched("plan", folder, planned).result(),
        "gb": {name: round(size / 1e9, 2) for name, size in n_bytes.items()},
        "five_million": {
            "core_hours": round(a_row * PAPER / 3600, 1),
            **{f"{name}_gb": round(size / rows * PAPER / 1e9) for name, size in n_bytes.items()},
        },
    }


if __name__ == "__main__":
    main()
