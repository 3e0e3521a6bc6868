"""Runs a card's snippet as anyone would, without mmprm. In: JSON. Out: P(yes), as JSON.

`python -I card_runner.py transformers|vllm|json`: the library is imported once, each request has a process of its own.
A line of stdin names two files, IN and OUT. IN: the PRM's folder, the snippet, and solutions to score with
the snippet's own function.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

IMPORTED = {"transformers": "transformers.models.auto.modeling_auto", "vllm": "vllm.entrypoints.llm", "json": "json"}


def decoded(files: list[str]) -> list[Any]:
    """The pictures as PIL images."""
    from PIL import Image

    return [Image.open(file).convert("RGB") for file in files]


def given(asked: dict[str, Any], row: dict[str, Any], pictures: Any) -> list[Any]:
    """The arguments of the snippet's function for a solution."""
    shown = [pictures(row["images"])] if asked["pictures"] else []
    return [row["question"], row["choices"], *shown, row["steps"], row["answer"]]


def run(library: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Run the snippet in the folder, as it stands, and then its function on the solutions."""
    os.chdir(asked["folder"])
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(asked["code"], "README.md", "exec"), space)
    score, solutions = space["score"], asked["solutions"]
    if library == "transformers":
        return {"p": [score(*given(asked, row, decoded)) for row in solutions]}
    if library == "vllm":
        return {"p": score(space["llm"], space["words"], [given(asked, row, decoded) for row in solutions])}

    def as_bytes(files: list[str]) -> list[bytes]:
        return [Path(file).read_bytes() for file in files]

    return {"p": [score(asked["url"], *given(asked, row, as_bytes)) for row in solutions]}


def main() -> None:
    """Import the library once, and answer each request in a process of its own, whose status is printed."""
    library = sys.argv[1]
    began = set(sys.modules)  # set-up makes every Python of our environment mend torchvision at its start
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if library == "vllm":  # on a CPU: in one process, which starts in seconds
        os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}
    importlib.import_module(IMPORTED[library])
    if library == "vllm":  # uncompiled: on a CPU it calls a C++ compiler for minutes
        import vllm

        vllm.LLM = functools.partial(vllm.LLM, enforce_eager=True)
    for line in sys.stdin:
        asked, told = line.rstrip("\n").split("\t")
        child = os.fork()
        if child == 0:
            os.dup2(2, 1)  # stdout is for statuses
            try:
                found = run(library, json.loads(Path(asked).read_text()))
            except BaseException as error:  # whatever the library says is the answer
                found = {"error": f"{type(error).__name__}: {error}"}
            Path(told).write_text(json.dumps(found))
            ours = [name for name in set(sys.modules) - began if name.partition(".")[0] == "mmprm"]
            os._exit(len(ours))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
