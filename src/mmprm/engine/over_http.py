"""Engines on servers: their base, and the chat engine, for instruction models behind any OpenAI-compatible server.

In: Request. Out: Finished. Draws are HTTP requests in a thread, all else happens in the caller's. A subclass of the
base makes the bodies of the HTTP requests, and Finished of their replies.
"""

import asyncio
import base64
import contextlib
import io
import queue
from typing import Any

from mmprm.config.models import InstructedModel
from mmprm.data.problem import decode_image, open_image
from mmprm.engine.base import Completion, EngineStats, Finished, Request, unusable
from mmprm.model.step_text import question_text
from mmprm.runtime.errors import UserError
from mmprm.runtime.http_client import Client, RequestRefusedError, Server

_FATAL = (401, 403, 404)  # no request would be carried out: the key, the address or the model's name is wrong
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
        except Exception as error:  # raised where the replies are read, in the caller's thread
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
        finished = self._finished(request, replies)
        wrong = next(filter(None, map(unusable, finished.completions)), None)
        return finished if wrong is None else Finished(request.key, (), f"the server's reply is {wrong}")

    @property
    def pending(self) -> int:
        """Requests accepted and not yet returned."""
        return self._running + len(self._failed)

    def close(self) -> None:
        """Cancel the requests in flight; the server drops them as well."""
        self._http.close()


class ChatEngine(HttpEngine):
    """An instruction model; its prompt is the problem's question: no prefixes, tags or token ids, replies as text."""

    def __init__(self, settings: InstructedModel, server: Server) -> None:
        """Contact nobody yet. UserError if the key in the environment cannot be sent, without quoting it."""
        assert settings.url is not None  # config.llm has checked it
        self._url = settings.url.rstrip("/")
        self._server = server
        self._model = settings.model
        super().__init__(Client(self._url, settings.max_concurrent, server))

    def _body(self, request: Request) -> dict[str, Any]:
        if request.prefix or request.one_step:
            raise ValueError("an instruction model cannot continue a policy prefix")
        problem, sampling = request.problem, request.sampling
        text = question_text(problem)
        pictures = [{"type": "image_url", "image_url": {"url": data_uri(image)}} for image in problem.images]
        # Servers of text-only models accept no lists.
        content: Any = [*pictures, {"type": "text", "text": text}] if pictures else text
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": content}],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_new_tokens,
        }
        return body | ({"top_k": sampling.top_k} if sampling.top_k else {})  # not every server knows it

    def _finished(self, request: Request, replies: list[Any]) -> Finished:
        completions = []
        for reply in replies:
            try:
                choice = reply["choices"][0]
                text, reason = choice["message"]["content"] or "", choice.get("finish_reason") or "stop"
                usage = reply.get("usage") or {}
                drawn, read = int(usage.get("completion_tokens") or 0), int(usage.get("prompt_tokens") or 0)
                completions.append(Completion(text, drawn, "length" if reason == "length" else "stop"))
            except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError):
                return Finished(request.key, (), "the server's reply is no chat completion")
            self.stats.completions += 1
            self.stats.generated_tokens += drawn
            self.stats.prompt_tokens += read
        return Finished(request.key, tuple(completions))

    def _refused(self, request: Request, error: RequestRefusedError) -> Finished:
        if error.status in _FATAL:
            raise UserError(
                f"{self._server.option} {self._url}: {error}; set {self._server.key_names[0]}, or correct the address "
                f"or the model ({self._model!r}), and run again: what was sampled is kept"
            )
        return super()._refused(request, error)


def data_uri(data: bytes) -> str:
    """Encode an image for a server so that its model sees the pixels of `decode_image`, which raises UserError.

    The file itself, which is small, if a plain reading gives these pixels; otherwise a PNG of them.
    """
    image = decode_image(data)
    file = open_image(data)
    kind = file.format
    if kind not in ("PNG", "JPEG") or file.convert("RGB").tobytes() != image.tobytes():
        kind, out = "PNG", io.BytesIO()
        image.save(out, kind, compress_level=1)
        data = out.getvalue()
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode()}"
