"""What a client must know of a served PRM to write what it reads. In: its folder. Out: JSON at GET /mmprm.

vLLM's server does not say with which instruction a PRM was trained, and it guards no path but /v1 with its key. Both
are mended by `Beside`, which vLLM puts before its own application (`--middleware`): a class, not another server.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmprm.model import folders
from mmprm.model.step_text import Renderer
from mmprm.runtime.errors import UserError

PATH = "/mmprm"
SERVED = "MMPRM_SERVED"  # environment of the server: the contract as a file of JSON
KEY = "MMPRM_API_KEY"  # environment of server and client
_OPEN = ("/health", "/ping")  # paths that ask for no key, as load balancers expect

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


@dataclass(frozen=True)
class Contract:
    """A served PRM: its name there, and what decides the texts that it is shown.

    `name` ends in the fingerprint of the folder: a server that was started again with another PRM refuses the name.
    `control`: strings that a question must not contain as they are. `counted`: it gives concentrations too.
    """

    name: str
    instruction: str
    control: tuple[str, ...]
    counted: bool
    reads_images: bool

    @classmethod
    def of(cls, folder: Path, instruction: str) -> Contract:
        """Read the contract of a PRM folder, whose name is that of its variant."""
        control = Renderer(folders.load_processor(folder), instruction).control
        name = f"{folder.resolve().name}-{folders.fingerprint(folder)[:12]}"
        return cls(name, instruction, control, folders.trained_on_counts(folder), folders.reads_images(folder))

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, text: str) -> Contract:
        """Parse its JSON; ValueError where it is none."""
        try:
            values = json.loads(text)
            return cls(**{**values, "control": tuple(map(str, values["control"]))})
        except (KeyError, TypeError) as error:
            raise ValueError(f"no contract of a PRM: {error}") from None


class Beside:
    """Answers GET /mmprm, and lets nothing pass without the key where there is one. An ASGI application before vLLM's.

    UserError if it is not started by `mmprm serve`.
    """

    def __init__(self, app: App) -> None:
        if SERVED not in os.environ:
            raise UserError(f"{SERVED} is not set: start the server with `mmprm serve`")
        self._app = app
        self._body = Path(os.environ[SERVED]).read_bytes()
        self._key = os.environ.get(KEY, "").strip()

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        """Answer or pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._key and scope["path"] not in _OPEN and not self._has_key(scope):
            await _reply(send, 401, b'{"error": {"message": "no key, or another one"}}')
        elif scope["path"] == PATH:
            await _reply(send, 200, self._body)
        else:
            await self._app(scope, receive, send)

    def _has_key(self, scope: Message) -> bool:
        sent = dict(scope["headers"]).get(b"authorization", b"")
        digests = [hashlib.sha256(text).digest() for text in (sent, f"Bearer {self._key}".encode())]
        return hmac.compare_digest(*digests)


async def _reply(send: Any, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
