"""PRM folders of several families with their cards, and what the cards' snippets say of solutions.

`PYTHONPATH=tests:. python tests/prm_cards.py` prints the table of docs/downstream.md, in some ten minutes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import tiny_families
import tiny_qwen
from training_fixtures import config_of
from vllm_process import MODULE, ended, environment, free_port, wait_until_it_answers
from waiting import HANG

from mmprm.config.models import Prompt
from mmprm.data import tables
from mmprm.data.problem import Problem
from mmprm.mini import base_model
from mmprm.mini.problems import FAMILIES as DRAWN
from mmprm.mini.problems import generate
from mmprm.model import folders
from mmprm.model.step_text import parse
from mmprm.prm import vllm_head
from mmprm.prm.card import prm_card
from mmprm.prm.scorers import TransformersScorer
from mmprm.prm.step_scores import Item, tokens_of
from mmprm.runtime import parent_death

INSTRUCTION = "Answer in steps."
FAMILIES = {"internvl": "InternVL", "qwen2_5_vl": "Qwen2.5-VL", "llama": "Llama (text alone)"}
# In bfloat16 a plain vLLM rounds both logits, which ours reads in float32: by 0.016 at most where they are 4 to 8, and
# P(yes) moves by a quarter of that. 6e-3 were seen.
LIMITS = {"float32": 1e-6, "bfloat16": 1e-2}


def build(folder: Path, family: str, dtype: str = "float32", label: str = "soft") -> Path:
    """An untrained PRM with the files that a training leaves: its head in config.json, its card, its manifest."""
    import torch

    if family == "internvl":
        base = base_model.build(folder.with_name(f"{folder.name}-base"))
    elif family in tiny_qwen.FAMILIES:
        base = tiny_qwen.build(folder.with_name(f"{folder.name}-base"), family, tags=False)
    elif family == "llama":
        base = tiny_families.build_text(folder.with_name(f"{folder.name}-base"), family, tags=False)
    else:
        base = tiny_families.build(folder.with_name(f"{folder.name}-base"), family, tags=False)
    both, model = folders.load_processor(base), folders.load_model(base)
    folders.add_control_tokens(both, model)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    both.save_pretrained(folder)
    config = config_of(base, variants={"soft": {"label": label}})
    config = config.model_copy(update={"prompt": Prompt(instruction=INSTRUCTION)})
    recipe = {"label": label, "label_set": None, "marker_init": "?"}
    settings = {"prm": recipe, "training": config.prm.training.model_dump(mode="json"), "seed": config.seed}
    counts = {"examples": 1, "problems": 1, "markers": 1, "mean_label": 0.5, "steps": 0, "final_loss": 0.0}
    info = {"variant": "soft", "base": "0" * 32, "config": settings, "refused": {}} | counts
    vllm_head.write(folder, tokens_of(both.tokenizer, label == "counts"), both.tokenizer)
    tables.write_text(folder / "README.md", prm_card(config, folder, info))
    folders.write_manifest(folder, info)
    return folder


def solutions(folder: Path) -> list[Item]:
    """Solutions to score: with a picture and without, with choices, and unfinished ones."""
    drawn = generate("sft", 4, list(DRAWN), seed=0)
    seen: list[Problem] = []
    for number, problem in enumerate(drawn):
        shown = replace(problem, choices=("5", "7 é", "數")) if number % 2 else problem
        seen.append(shown if number < 2 and folders.reads_images(folder) else replace(shown, images=()))
    return [(one, parse(one.solution or "").steps, answer) for one in seen for answer in ("5", None)]


def expected(folder: Path, dtype: str = "float32") -> list[list[float]]:
    """Our scores of them."""
    scores = TransformersScorer(folder, INSTRUCTION, dtype).score(solutions(folder))
    return [one.probabilities for one in scores]


def blocks(folder: Path) -> dict[str, str]:
    """The card's code, by what it is for: transformers, vllm, serve, client."""
    card = (folder / "README.md").read_text()
    python = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    shell = re.findall(r"```bash\n(.*?)```", card, re.DOTALL)
    return dict(zip(("transformers", "vllm", "client"), python, strict=False)) | dict(
        zip(["serve"], shell, strict=False)
    )


class Reader:
    """A process that has imported a library, and mmprm never, and runs snippets (card_runner.py)."""

    def __init__(self, library: str) -> None:
        command = [sys.executable, "-I", str(Path(__file__).with_name("card_runner.py")), library]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(parent_death.to_me(command), start_new_session=True, **pipes)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def score(self, folder: Path, block: str, place: Path, url: str = "") -> list[list[float]]:
        """P(yes) of the solutions, by a block of the folder's card; `url` stands in the place of the server's there."""
        place.mkdir(parents=True, exist_ok=True)
        rows = []
        for problem, steps, answer in solutions(folder):
            files = []
            for image in problem.images:
                files.append(str(place / f"{len(rows)}-{len(files)}.png"))
                Path(files[-1]).write_bytes(image)
            row = {"question": problem.question, "choices": list(problem.choices), "images": files}
            rows.append(row | {"steps": list(steps), "answer": answer})
        code = blocks(folder)[block].replace("http://127.0.0.1:8000", url or "http://127.0.0.1:8000")
        asked = {"folder": str(folder), "code": code, "solutions": rows, "url": url}
        asked["pictures"] = folders.reads_images(folder)
        (place / "asked.json").write_text(json.dumps(asked))
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{place / 'asked.json'}\t{place / 'told.json'}\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], HANG)
        assert ready and self._process.stdout.readline().strip() == "0", "no module of mmprm's was imported"
        told = json.loads((place / "told.json").read_text())
        assert "error" not in told, told["error"]
        return [list(row) for row in told["p"]]


@contextlib.contextmanager
def served(folder: Path, place: Path) -> Iterator[str]:
    """The server of the card's own line; `vllm serve` by its module: the CPU build has another name. Its address."""
    arguments = shlex.split(blocks(folder)["serve"])
    assert arguments[:3] == ["vllm", "serve", "."]
    port = free_port()
    command = [sys.executable, "-I", "-m", MODULE, "--model", ".", *arguments[3:]]
    command += f"--host 127.0.0.1 --port {port} --enforce-eager".split()
    place.mkdir(parents=True, exist_ok=True)
    with (place / "log").open("w") as log:
        started: dict[str, Any] = {"cwd": folder, "env": environment(), "stdout": log, "stderr": log}
        process = subprocess.Popen(parent_death.to_me(command), start_new_session=True, **started)
    with ended(process):
        wait_until_it_answers(port, process, place / "log")
        yield f"http://127.0.0.1:{port}"


def largest(found: Sequence[Sequence[float]], ours: Sequence[Sequence[float]]) -> float:
    """The largest difference of a probability; the lists must be of the same lengths."""
    return max(abs(a - b) for one, other in zip(found, ours, strict=True) for a, b in zip(one, other, strict=True))


def main() -> None:
    """Print a row a family and dtype: the largest difference of P(yes) from ours, by reader."""
    print("| family | weights | transformers | vLLM | served |\n|---|---|--:|--:|--:|")
    client, plain, vllm = Reader("json"), Reader("transformers"), Reader("vllm")
    with tempfile.TemporaryDirectory() as scratch, client, plain, vllm:
        for family, title in FAMILIES.items():
            for dtype in LIMITS:
                place = Path(scratch) / f"{family}-{dtype}"
                folder = build(place / "prm", family, dtype)
                ours = expected(folder, dtype)
                found = [plain.score(folder, "transformers", place / "a"), vllm.score(folder, "vllm", place / "b")]
                with served(folder, place / "server") as url:
                    found.append(client.score(folder, "client", place / "c", url))
                cells = " | ".join(f"{largest(one, ours):.0e}" for one in found)
                print(f"| {title} | {dtype} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
