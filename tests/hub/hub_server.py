"""A stand-in of the Hugging Face hub's API on loopback, for uploads: repositories and their files in memory."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Hub:
    """What was uploaded. refuses: the status and message with which it answers a commit."""

    url: str = ""
    repos: dict[str, dict[str, Any]] = field(default_factory=dict)  # kind/owner/name -> how it was made
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refuses: tuple[int, str] | None = None

    def answer(self, path: str, body: bytes) -> tuple[int, Any]:
        """The status and the reply of a POST."""
        parts = path.partition("?")[0].strip("/").split("/")
        if parts[1:3] == ["repos", "create"]:
            asked = json.loads(body)
            name = f"{asked.get('type', 'model')}s/{asked['organization']}/{asked['name']}"
            self.repos[name] = asked
            place = name.removeprefix("models/")
            return 200, {"url": f"{self.url}/{place}", "id": name.partition("/")[2]}
        if parts[1:] == ["validate-yaml"]:
            return 200, {"errors": [], "warnings": []}
        if len(parts) > 4 and parts[4] == "preupload":
            named = [one["path"] for one in json.loads(body)["files"]]
            return 200, {"files": [{"path": one, "uploadMode": "regular", "shouldIgnore": False} for one in named]}
        if len(parts) > 4 and parts[4] == "commit":
            if self.refuses:
                return self.refuses[0], {"error": self.refuses[1]}
            lines = [json.loads(line) for line in body.splitlines()]
            new = {one["value"]["path"]: base64.b64decode(one["value"]["content"]) for one in lines[1:]}
            self.files.setdefault("/".join(parts[1:4]), {}).update(new)
            place = "/".join(parts[1:4]).removeprefix("models/")
            return 200, {"commitUrl": f"{self.url}/{place}/commit/1", "commitOid": "1" * 40, "success": True}
        return 404, {"error": f"the stand-in has no {path}"}


@contextlib.contextmanager
def hub() -> Iterator[Hub]:
    """Run the stand-in."""
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length")
            body = self.rfile.read(int(length)) if length else self._chunks()
            status, reply = state.answer(self.path, body)
            data = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _chunks(self) -> bytes:
            """The body of a request that names no length."""
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
