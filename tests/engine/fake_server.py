"""A server that answers as `vllm serve` does and does what a test plans, without a model."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from mmprm.data.problem import Problem, decode_image
from mmprm.model import folders
from mmprm.model.step_text import Renderer


class FakeServer(ThreadingHTTPServer):
    """Answers as vLLM does. What it draws is its seed, spelt; `plan` says otherwise for a body."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, policy: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.processor = folders.load_processor(policy)
        self.renderer = Renderer(self.processor)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.cards: list[dict[str, Any]] = [{"id": "policy", "max_model_len": 256}]
        self.prompt: list[int] = []
        self.plan: Callable[[dict[str, Any]], tuple[int, Any] | None] = lambda body: None
        self.bodies: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.running = self.most_running = 0
        self.lock = threading.Lock()

    def expect(self, problem: Problem, prefix: tuple[str, ...] = ()) -> None:
        """Claim that every prompt is the one of this state."""
        images = [decode_image(image) for image in problem.images] or None
        text = self.renderer.continuation(problem, prefix)
        self.prompt = list(self.processor(text=[text], images=images)["input_ids"][0])

    def drawn(self, seed: int) -> list[int]:
        tokenizer = self.processor.tokenizer
        return [*tokenizer.encode(f"<step>{seed}</step>", add_special_tokens=False), tokenizer.eos_token_id]

    def complete(self, body: dict[str, Any]) -> tuple[int, Any]:
        with self.lock:
            self.bodies.append(body)
            self.running += 1
            self.most_running = max(self.running, self.most_running)
        planned = self.plan(body)
        with self.lock:
            self.running -= 1
        if planned is not None:
            return planned
        usage = {"prompt_tokens": len(self.prompt), "prompt_tokens_details": {"cached_tokens": 5}}
        choice = {"index": 0, "message": {"content": ""}, "token_ids": self.drawn(body["seed"])}
        return 200, {"choices": [choice], "prompt_token_ids": self.prompt, "usage": usage}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeServer

    def do_GET(self) -> None:
        self._answer(200, {"data": self.server.cards}) if self.path == "/v1/models" else self._answer(404, {})

    def do_POST(self) -> None:
        self._answer(*self.server.complete(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

    def _answer(self, status: int, content: Any) -> None:
        self.server.keys.add(self.headers["Authorization"])
        if status == 0:  # no answer at all
            self.close_connection = True
            return
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def refused(status: int, message: str) -> tuple[int, Any]:
    return status, {"error": {"message": message, "type": "BadRequestError", "code": status}}
