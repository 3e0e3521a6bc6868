"""A judge for the tests: an OpenAI-compatible server on loopback, and a configuration that names it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from waiting import HANG

from mmprm import config
from mmprm.config.models import JudgeSettings

KEY = "sk-very-secret"
Reply = tuple[int, str]  # a status and a body
DOWN = 503, f"overloaded, {KEY}"


def said(text: str) -> Reply:
    return 200, json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]})


class Server:
    """An OpenAI-compatible server, as far as the judge needs one. `reply` gives a reply to a prompt."""

    def __init__(self) -> None:
        self.reply: Callable[[str], Reply] = lambda prompt: said("Yes")
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/chat/completions"
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.bodies.append(body)
                outer.headers.append(dict(self.headers))
                status, text = outer.reply(body["messages"][-1]["content"])
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def prompts(self) -> list[str]:
        return [body["messages"][-1]["content"] for body in self.bodies]

    @property
    def answers(self) -> list[str]:
        return [part(prompt, "answer") for prompt in self.prompts]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def part(prompt: str, name: str) -> str:
    """What stands between the tags of a part."""
    match = re.search(rf"<{name}-(\w+)>\n(.*)\n</{name}-\1>", prompt, re.DOTALL)
    assert match is not None
    return match[2]


def settings(server: Server, **options: Any) -> config.GradingSettings:
    values = {"url": server.url, "model": "judge-1", "timeout": HANG, "tries": 3} | options
    return config.GradingSettings(workers=1, timeout=HANG, judge=JudgeSettings(**values))
