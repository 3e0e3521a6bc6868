"""A stand-in of a served PRM on loopback: logits that follow from what it is shown, and faults on request."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, Any]


def logits(shown: str) -> list[list[float]]:
    """(No, Yes) at each marker: of all that stands before it."""
    rows = []
    for number in range(1, shown.count("<prm>") + 1):
        before = "<prm>".join(shown.split("<prm>")[:number])
        digest = hashlib.sha256(before.encode()).digest()
        rows.append([digest[0] / 32 - 4, digest[1] / 32 - 4])
    return rows


@dataclass
class Served:
    """What was asked. `fault`: called with each request's number, gives a reply in place of the scores, or a drop."""

    name: str = "soft-0123456789ab"
    url: str = ""
    instruction: str = "Answer in steps."
    bodies: list[dict[str, Any]] = field(default_factory=list)
    fault: Callable[[int], Reply | str | None] = lambda number: None
    pictures: bool = True

    def reply(self, body: dict[str, Any]) -> Reply:
        """The scores of a body."""
        if body["model"] != self.name:
            return 404, {"error": {"message": f"The model `{body['model']}` does not exist."}}
        shown = json.dumps(body["messages"][0]["content"]) + body["messages"][1]["content"]
        return 200, {"data": [{"data": logits(shown)}], "usage": {"prompt_tokens": 7}}

    def contract(self) -> Reply:
        """What GET /mmprm says."""
        about = {"name": self.name, "instruction": self.instruction, "control": ["<|end|>"]}
        return 200, about | {"counted": False, "reads_images": self.pictures}


@contextlib.contextmanager
def prm_server() -> Iterator[Served]:
    """Run the stand-in."""
    state = Served()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send(*(state.contract() if self.path == "/mmprm" else (404, {})))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                state.bodies.append(body)
                number = len(state.bodies)
            fault = state.fault(number)
            if fault == "drop":  # as a server that is killed
                self.close_connection = True
                return
            self.send(*(fault or state.reply(body)))

        def send(self, status: int, reply: Any) -> None:
            data = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
