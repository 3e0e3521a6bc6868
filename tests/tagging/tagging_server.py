"""A rewriting model for the tests: an OpenAI-compatible server on loopback, and a run whose solutions it rewrites."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chat_server
from chat_server import text_of

from mmprm import config
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, write_problems
from mmprm.tagging.tag import tag

KEY = "sk-tagging-secret"
FILES = "out.parquet", "out.refused.parquet", "out.tagging.json"


class ChatServer(chat_server.ChatServer):
    """`reply(stage, number, body)` gives the text of a reply, or a status; the number is that of the problem."""

    def __init__(self, delay: float = 0.0, together: int = 1) -> None:
        super().__init__(KEY, delay, together)
        self.reply: Callable[[str, int, dict[str, Any]], str | int] = good
        self.length: set[str] = set()  # stages whose replies are cut off

    def answer(self, body: dict[str, Any]) -> chat_server.Answer:
        stage = stage_of(body)
        return self.reply(stage, number_of(body), body), "length" if stage in self.length else "stop"

    def calls(self) -> list[tuple[str, int, int]]:
        """(stage, problem, seed) of every call."""
        return [(stage_of(body), number_of(body), body["seed"]) for body in list(self.bodies)]


def stage_of(body: dict[str, Any]) -> str:
    return "rewrite" if "Knowledge points:" in text_of(body) else "knowledge"


def number_of(body: dict[str, Any]) -> int:
    found = re.search(r"What is (\d+) \+ 1\?", text_of(body))
    assert found is not None
    return int(found[1])


def rewritten(*steps: str, answer: object) -> str:
    parts = [f"### Step {number}\n{step}\n" for number, step in enumerate(steps, start=1)]
    return "\n".join([*parts, f"### Answer\n{answer}"])


def good(stage: str, number: int, body: dict[str, Any]) -> str:
    """A reply as it should be."""
    if stage == "knowledge":
        return "- counting on"
    return rewritten(f"The first number is {number}.", f"One more than {number} is {number + 1}.", answer=number + 1)


def problem(number: int, solution: str | None = "", **fields: Any) -> Problem:
    """A problem with a raw solution (None: it has none)."""
    solution = f"{number} and one more make {number + 1}." if solution == "" else solution
    fields = {"question": f"What is {number} + 1?", "answer": str(number + 1), "solution": solution} | fields
    return Problem(f"raw/{number:04d}", "raw", **fields)


def run_config(model: dict[str, Any] | None = None, **source: Any) -> config.Config:
    """A run in which `tagged` has the solutions of `raw`."""
    if model is not None:
        source |= {"by": "model", "model": {"model": "rewriter", "tries": 2, "max_concurrent": 8} | model}
    raw = {"kind": "table", "path": "raw.parquet", "columns": {"solution": "solution"}}
    return config.load(
        {
            "run": "test",
            "sources": {
                "raw": raw,
                "tagged": {"kind": "tagged", "sources": ["raw"], "max_refused_share": 1.0} | source,
                "test": {"kind": "table", "path": "test.parquet"},
            },
            "policy": {"base": "base", "sources": ["tagged"]},
            "seeds": {"sources": ["raw"]},
            "benchmarks": {"test": {"source": "test"}},
            "grading": {"workers": 1, "timeout": 600},  # a slow machine leaves no answer undecided
        }
    )


class Tagging:
    """A folder in which some problems are tagged."""

    def __init__(self, folder: Path, problems: list[Problem]) -> None:
        self.folder = folder
        self.table = folder / "raw.parquet"
        write_problems(self.table, problems)

    def run(self, settings: config.Config) -> Tagging:
        out = [self.folder / name for name in FILES]
        tag(settings, "tagged", [self.table], self.folder / "work", *out)
        return self

    @property
    def solutions(self) -> dict[str, str]:
        rows = tables.read_rows(self.folder / FILES[0], schemas.PROBLEMS)
        return {row["problem_id"]: row["solution"] for row in rows}

    @property
    def reasons(self) -> dict[str, str]:
        rows = tables.read_rows(self.folder / FILES[1], schemas.REFUSED)
        return {row["problem_id"]: row["reason"] for row in rows}

    @property
    def counts(self) -> dict[str, Any]:
        return json.loads((self.folder / FILES[2]).read_text())

    @property
    def bytes(self) -> list[bytes]:
        return [(self.folder / name).read_bytes() for name in FILES]
