"""An OpenAI-compatible chat server on loopback, for the stages that ask a model which is given instructions."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[str | int, str]  # a text or a status, and the finish reason


class ChatServer:
    """Subclasses say what they `answer`. Notes the bodies and the keys of all requests.

    The first `together` requests are answered once all of them are there.
    """

    def __init__(self, secret: str, delay: float = 0.0, together: int = 1) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.running = self.most_running = 0
        lock = threading.Lock()
        gathering = threading.Barrier(together)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    outer.bodies.append(body)
                    outer.keys.add(self.headers["Authorization"])
                    number = len(outer.bodies)
                    outer.running += 1
                    outer.most_running = max(outer.most_running, outer.running)
                if number <= together:
                    gathering.wait(60)
                time.sleep(delay)
                said, reason = outer.answer(body)
                with lock:
                    outer.running -= 1
                status = said if isinstance(said, int) else 200
                choice = {"message": {"role": "assistant", "content": said}, "finish_reason": reason}
                usage = {"prompt_tokens": 50, "completion_tokens": 7}
                content = (
                    {"choices": [choice], "usage": usage} if status == 200 else {"error": {"message": f"no {secret}"}}
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

    def answer(self, body: dict[str, Any]) -> Answer:
        raise NotImplementedError

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def text_of(body: dict[str, Any]) -> str:
    """The text of a request, without its pictures."""
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]
