"""The chat engine: any instruction model behind an OpenAI-compatible server, which answers in free text.

In: Request, whose problem's question is the whole prompt. Out: Finished, with the text as the server returns it. Unlike
server_engine it asks for no token ids and knows no step tags: the model is not the policy, and the server may be any.
"""

from typing import Any

from mmprm.config.models import InstructedModel
from mmprm.engine.base import Completion, Finished, Request
from mmprm.engine.over_http import HttpEngine
from mmprm.engine.server_engine import data_uri
from mmprm.model.step_text import question_text
from mmprm.runtime.errors import UserError
from mmprm.runtime.http_client import Client, RequestRefusedError, Server

_FATAL = (401, 403, 404)  # no request would be carried out: the key, the address or the model's name is wrong


class ChatEngine(HttpEngine):
    """engine.base.Engine without prefixes: every completion is a whole reply."""

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
                completions.append(Completion(str(text), drawn, "length" if reason == "length" else "stop"))
            except (AttributeError, IndexError, KeyError, TypeError, ValueError):
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
