"""A rewriting model for the tests: an OpenAI-compatible server on loopback, and a run whose solutions it rewrites."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from mmprm import config, tables
from mmprm.problem import Problem, write_problems
from mmprm.tagging.stage import tag

KEY = "sk-tagging-secret"
FILES = "out.parquet", "out.refused.parquet", "out.tagging.json"


class ChatServer:
    """`reply(stage, number, body)` gives the text of a reply, or a status; the number is that of the problem."""

    def __init__(self, delay: float = 0.0) -> None:
        self.reply: Callable[[str, int, dict[str, Any]], str | int] = good
        self.bodies: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.length: set[str] = set()  # stages whose replies are cut off
        self.running = self.most_running = 0
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    outer.bodies.append(body)
                    outer.keys.add(self.headers["Authorization"])
                    outer.running += 1
                    outer.most_running = max(outer.most_running, outer.running)
                time.sleep(delay)
                said = outer.reply(stage_of(body), number_of(body), body)
                with lock:
                    outer.running -= 1
                status = said if isinstance(said, int) else 200
                reason = "length" if stage_of(body) in outer.length else "stop"
                choice = {"message": {"role": "assistant", "content": said}, "finish_reason": reason}
                usage = {"prompt_tokens": 50, "completion_tokens": 7}
                content = (
                    {"choices": [choice], "usage": usage} if status == 200 else {"error": {"message": f"no {KEY}"}}
                )
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that was killed closes its connection."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def calls(self) -> list[tuple[str, int, int]]:
        """(stage, problem, seed) of every call."""
        return [(stage_of(body), number_of(body), body["seed"]) for body in list(self.bodies)]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def text_of(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


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
            "grading": {"workers": 1},
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
        rows = tables.read_rows(self.folder / FILES[0], tables.PROBLEMS)
        return {row["problem_id"]: row["solution"] for row in rows}

    @property
    def reasons(self) -> dict[str, str]:
        rows = tables.read_rows(self.folder / FILES[1], tables.REFUSED)
        return {row["problem_id"]: row["reason"] for row in rows}

    @property
    def counts(self) -> dict[str, Any]:
        return json.loads((self.folder / FILES[2]).read_text())

    @property
    def bytes(self) -> list[bytes]:
        return [(self.folder / name).read_bytes() for name in FILES]
