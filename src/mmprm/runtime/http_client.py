"""JSON over HTTP to models on servers, from an event loop in a thread: bounded, retried, silent about the key.

In: a path below the server's address, and a body. Out: the reply's JSON; RequestRefusedError for a request that the
server does not carry out, ServerAwayError if it does not answer or stays overloaded. The key comes from the environment
and goes into the header alone.
"""

import asyncio
import contextlib
import ipaddress
import json
import os
import random
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import tenacity

from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log


@dataclass(frozen=True)
class Server:
    """Describes a server in messages: `option` names it in the configuration, `remedy` is what to do if it is away.

    The first of the environment variables `key_names` that is set holds its key.
    """

    option: str
    key_names: tuple[str, ...]
    remedy: str


PLAIN = "MMPRM_KEY_OVER_HTTP"  # environment: keys may go over a network unencrypted
_OPENAI = "https://api.openai.com"
_TRIES = 8
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0  # seconds before the second try, doubled from try to try
_LONGEST_RETRY_AFTER = 300.0  # seconds; a server that asks for more is asked again nevertheless
# Seconds. A reply comes whole, after the request's turn in the server's queue; one that trickles in is given no longer.
_CONNECT, _SILENCE = 10.0, 3600.0
_LONGEST_REPLY = 2**26  # bytes; a completion of 100,000 tokens with their ids has a hundredth
_AWAY = (429, 502, 503, 504)  # the server is overloaded or gone; any other status is about the request

T = TypeVar("T")


class RequestRefusedError(Exception):
    """A request that the server does not carry out: its status, and its message without the key."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the server says {status}: {message}" if status != 200 else f"the server sends {message}")
        self.status = status


class ServerAwayError(UserError):
    """No usable reply after all tries; `reason` is the last status or a name of the failure."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class _FailedTryError(Exception):
    """A try after which another may succeed; `status` is None if no reply came."""

    def __init__(self, status: int | None, message: str, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


def read_json(text: str) -> Any:
    """Parse a reply that must be a JSON object; ValueError otherwise."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


class Client:
    """A connection pool to one server. `close` ends its thread.

    aiohttp, since with 256 requests in flight a request takes it 0.3 ms of a core (1 ms with a body of 300 KB), and
    httpx 6 ms.
    """

    def __init__(
        self, url: str, max_running: int, server: Server, silence: float = _SILENCE, use_proxy: bool = False
    ) -> None:
        """Contact nobody yet. UserError if the key in the environment cannot be sent, without quoting it.

        `url`: the address that paths are appended to. At most `max_running` requests are in flight at a time.
        `silence`: seconds to wait for a reply. `use_proxy`: go through the proxy that the environment names.
        """
        self._url = url.rstrip("/")
        self._server = server
        self._key = _key(server, self._url)
        self._slots = asyncio.Semaphore(max_running)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mmprm-http", daemon=True)
        self._thread.start()
        self._session = self.run(self._open(max_running, silence, _proxy(self._url) if use_proxy else None))

    async def _open(self, max_running: int, silence: float, proxy: str | None) -> aiohttp.ClientSession:
        connecting = min(_CONNECT, silence)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=max_running),
            timeout=aiohttp.ClientTimeout(total=connecting + silence, sock_connect=connecting, sock_read=silence),
            headers={"Authorization": f"Bearer {self._key}"} if self._key else None,
            proxy=proxy,
        )

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine in the thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the thread and wait for its result."""
        return self.start(work).result()

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        tries: Callable[[], int] = lambda: _TRIES,
        read: Callable[[str], Any] = read_json,
    ) -> Any:
        """Return the reply to a request as `read` parses it, after waiting for a free slot.

        Tries again when the server fails, is away or overloaded, or `read` raises ValueError; it waits twice as long
        each time, and at least as long as the server's Retry-After. `tries` is called once the slot is free.
        """
        async with self._slots:
            n = tries()
            retrying = tenacity.AsyncRetrying(
                sleep=asyncio.sleep,
                retry=tenacity.retry_if_exception_type(_FailedTryError),
                stop=tenacity.stop_after_attempt(n),
                wait=_wait,
                reraise=True,
            )
            try:
                return await retrying(self._try, method, path, body, read)
            except _FailedTryError as error:
                if error.status is not None and error.status not in _AWAY:
                    raise RequestRefusedError(error.status, str(error)) from None
                raise ServerAwayError(
                    f"{self._server.option} {self._url}: no server answers there ({n} tries, at last: {error}); "
                    f"{self._server.remedy}, or correct the address, and run again: what was sampled is kept",
                    error.reason,
                ) from None

    async def _try(self, method: str, path: str, body: Any, read: Callable[[str], Any]) -> Any:
        try:
            # No redirects: they would carry the key elsewhere.
            request = self._session.request(method, self._url + path, json=body, allow_redirects=False)
            async with request as reply:
                status, text = reply.status, await _text(reply)
        except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
            message = self._without_key(f"{type(error).__name__} {error}")
            raise _FailedTryError(None, message, _reason(error)) from None
        if status == 200:
            try:
                return read(text)
            except (ValueError, RecursionError):  # brackets in brackets, some thousand deep
                raise _FailedTryError(200, "a reply that cannot be read: no JSON object", "reply") from None
        with contextlib.suppress(KeyError, RecursionError, TypeError, ValueError):
            text = str(json.loads(text)["error"]["message"])
        message = self._without_key(f"{text or reply.reason}")[:500]
        if status == 429 or status >= 500:
            raise _FailedTryError(status, message, str(status), _retry_after(reply.headers.get("Retry-After")))
        raise RequestRefusedError(status, message)

    def _without_key(self, text: str) -> str:
        """Remove the key: servers quote one that they refuse."""
        return text.replace(self._key, "***") if self._key else text

    def close(self) -> None:
        """Cancel the requests in flight and end the thread."""
        self.run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._session.close()


async def _text(reply: aiohttp.ClientResponse) -> str:
    """Read a reply, at most _LONGEST_REPLY bytes of it: memory is not the server's to fill."""
    data = bytearray()
    async for part in reply.content.iter_chunked(2**16):
        data += part
        if len(data) > _LONGEST_REPLY:
            raise _FailedTryError(200, f"a reply of more than {_LONGEST_REPLY >> 20} MiB", "reply")
    return data.decode(errors="replace")


def _key(server: Server, url: str) -> str | None:
    """Return the first key that is set and may go there; UserError where it would go unencrypted over a network."""
    host, own = urlsplit(url).hostname or "", urlsplit(os.environ.get("OPENAI_BASE_URL") or _OPENAI).hostname
    for name in server.key_names:
        key = os.environ.get(name, "").strip()
        if key and not (key.isascii() and key.isprintable()):
            raise UserError(f"{name} holds a character that no HTTP header can carry: set it again")
        if not key:
            continue
        if name == "OPENAI_API_KEY" and host != own:
            log.warning(f"OPENAI_API_KEY is for {own} and not sent to {host}; what is: {server.key_names[0]}")
            continue
        if url.startswith("http:") and not _is_here(host) and not os.environ.get(PLAIN):
            raise UserError(
                f"{server.option} {url}: {name} would go over the network unencrypted. Use https, or a tunnel to "
                f"127.0.0.1; in a network that you trust set {PLAIN}=yes; or unset {name} if the server needs no key"
            )
        return key
    return None


def _is_here(host: str) -> bool:
    """Tell whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _proxy(url: str) -> str | None:
    address = urlsplit(url)
    return None if proxy_bypass(address.netloc) else getproxies().get(address.scheme)


def _wait(state: tenacity.RetryCallState) -> float:
    """Return the seconds before the next try, drawn at random so that not all shards come at the same moment."""
    wait: float = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (state.attempt_number - 1)) * random.uniform(0.5, 1)
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, _FailedTryError) else 0.0
    return max(wait, min(asked, _LONGEST_RETRY_AFTER))


def _retry_after(header: str | None) -> float:
    """Return the seconds of a Retry-After header (a number or a date); 0 if it is missing or unreadable."""
    with contextlib.suppress(ValueError):
        if header is not None and header.strip().isdecimal():
            return float(header)
        seconds: float = parsedate_to_datetime(header or "").timestamp() - time.time()
        return max(0.0, seconds)
    return 0.0


def _reason(error: Exception) -> str:
    """Return the name of a failure that goes into tables; they are httpx's, which judged the first tables."""
    names = {
        aiohttp.ConnectionTimeoutError: "ConnectTimeout",
        aiohttp.ServerTimeoutError: "ReadTimeout",
        aiohttp.ClientConnectorError: "ConnectError",
        TimeoutError: "ReadTimeout",  # of the whole request
    }
    return next((name for kind, name in names.items() if isinstance(error, kind)), type(error).__name__)
