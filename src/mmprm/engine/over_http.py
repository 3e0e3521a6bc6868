"""Base of the engines on servers: draws are HTTP requests in a thread, all else happens in the caller's.

In: Request. Out: Finished. A subclass makes the bodies of the HTTP requests, and Finished of their replies.
"""

import asyncio
import contextlib
import queue
from typing import Any

from mmprm.engine.base import EngineStats, Finished, Request
from mmprm.runtime.errors import UserError
from mmprm.runtime.http_client import Client, RequestRefusedError

_STEP = 0.2  # seconds that a step waits for something to finish


class HttpEngine:
    """engine.base.Engine on a server with `/chat/completions`. Draw i of a request has seed + i."""

    def __init__(self, client: Client) -> None:
        self.stats = EngineStats()
        self._failed: list[Finished] = []
        self._running = 0
        self._done: queue.SimpleQueue[tuple[Request, list[Any] | Exception]] = queue.SimpleQueue()
        self._broken: Exception | None = None
        self._http = client

    def _body(self, request: Request) -> dict[str, Any]:
        """Return what the draws of a request share. ValueError or UserError if it cannot be sent."""
        raise NotImplementedError

    def _finished(self, request: Request, replies: list[Any]) -> Finished:
        """Combine the replies of all draws. Raises what ends the run: an error that is not of this request."""
        raise NotImplementedError

    def _refused(self, request: Request, error: RequestRefusedError) -> Finished:
        """Finish a request that the server does not carry out. Raises what ends the run."""
        return Finished(request.key, (), str(error))

    def submit(self, request: Request) -> None:
        """Accept a request; one that cannot be sent (a prompt too long) returns from the next step with its error."""
        self.stats.requests += 1
        try:
            body = self._body(request)
        except (ValueError, UserError) as error:
            self._failed.append(Finished(request.key, (), f"{type(error).__name__}: {error}"))
            return
        self._running += 1
        self._http.start(self._sample(request, body))

    async def _sample(self, request: Request, body: dict[str, Any]) -> None:
        """Queue the replies of all draws of a request, in order, or the first error."""
        bodies = [body | {"seed": request.seed + draw} for draw in range(request.n)]
        draws = [asyncio.ensure_future(self._http.ask("POST", "/chat/completions", body)) for body in bodies]
        try:
            self._done.put((request, await asyncio.gather(*draws)))
        except Exception as error:
            self._done.put((request, error))
        finally:
            for draw in draws:
                draw.cancel()

    def step(self) -> list[Finished]:
        """Wait a moment for requests to finish. UserError if the server is gone, once all its replies are returned."""
        finished, self._failed = self._failed, []
        wait = _STEP if self._running and not finished and self._broken is None else 0.0
        with contextlib.suppress(queue.Empty):
            while True:
                request, reply = self._done.get(timeout=wait)
                wait = 0.0
                try:
                    finished.append(self._result(request, reply))
                    self._running -= 1
                except Exception as error:  # kept until the rest of what came has been handed out
                    self._broken = self._broken or error
        if self._broken is not None and not finished:
            raise self._broken
        return finished

    def _result(self, request: Request, replies: list[Any] | Exception) -> Finished:
        if isinstance(replies, RequestRefusedError):
            return self._refused(request, replies)
        if isinstance(replies, Exception):
            raise replies
        return self._finished(request, replies)

    @property
    def pending(self) -> int:
        """Requests accepted and not yet returned."""
        return self._running + len(self._failed)

    def close(self) -> None:
        """Cancel the requests in flight; the server drops them as well."""
        self._http.close()
