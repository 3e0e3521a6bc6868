"""Scores by a server of `mmprm serve`, from anywhere. In: solutions. Out: StepScores, those of offline scoring.

    from mmprm.client import score, solution
    score("http://127.0.0.1:8000", [solution("What is 2 + 3?", ["2 + 3 = 5"], "5")])[0].probabilities

`Service` keeps the connection and is also a `Scorer`; both have a form to await. Many solutions are in flight at once,
and vLLM batches what it has. A server that is away is asked again; one that serves another PRM by then is refused.
"""

from __future__ import annotations

import asyncio
import io
import json
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

from mmprm.data.problem import Problem
from mmprm.engine.over_http import data_uri
from mmprm.model.step_text import MARKER, has_control, question_text, render_solution
from mmprm.prm.score_candidates import check_scores
from mmprm.prm.step_scores import Item, StepScores
from mmprm.runtime.errors import UserError
from mmprm.runtime.http_client import Client, RequestRefusedError, Server
from mmprm.serving.contract import KEY, PATH, Contract

_SERVER = Server("the scoring service", (KEY,), "start it with `mmprm serve`")
_RUNNING = 64  # solutions in flight
_TRIES = 10  # some three minutes, in which a server can be started again
_SILENCE = 600.0  # seconds
_TOO_LONG = ("maximum context length", "longer than the maximum model length")  # vLLM's words


def solution(
    question: str,
    steps: Sequence[str],
    answer: str | None = None,
    choices: Sequence[str] = (),
    images: Sequence[Any] = (),
) -> Item:
    """Return a solution to score. images: encoded files as bytes, paths, or PIL images, in the question's order."""
    problem = Problem("", "", question, "", images=tuple(map(_encoded, images)), choices=tuple(choices))
    return problem, tuple(steps), answer


def score(url: str, solutions: Sequence[Item], **options: Any) -> list[StepScores]:
    """Score solutions by the server at `url`; see Service for what is raised, and for the options."""
    with Service(url, **options) as service:
        return service.score(solutions)


async def score_async(url: str, solutions: Sequence[Item], **options: Any) -> list[StepScores]:
    """Score solutions without blocking the event loop."""
    service = await asyncio.to_thread(Service, url, **options)
    try:
        return await service.score_async(solutions)
    finally:
        await asyncio.to_thread(service.close)


class Service:
    """A connection to a server of `mmprm serve`; any thread may use it. Its key is in MMPRM_API_KEY.

    A solution that is too long for the model gets no probabilities. Raises UserError if no server answers after all
    tries, it is none of `mmprm serve`, a solution cannot be written (a tag in a step), or a reply is not one
    probability a marker; an error concerns the whole call, so that nothing wrong is returned.
    """

    def __init__(self, url: str, running: int = _RUNNING, tries: int = _TRIES) -> None:
        """Ask the server what it serves. running: solutions in flight. tries: of each, waiting longer between them."""
        self.prompt_tokens = 0
        self._running, self._tries = running, tries
        self._uri = lru_cache(maxsize=running)(data_uri)
        self._http = Client(url, running, _SERVER, _SILENCE)
        try:
            self.contract: Contract = self._http.run(
                self._http.ask("GET", PATH, tries=lambda: tries, read=Contract.read)
            )
        except RequestRefusedError as error:
            self.close()
            raise UserError(f"{url}: {error}; is it a server of `mmprm serve`, and {KEY} its key?") from None
        except BaseException:
            self.close()
            raise

    def score(self, items: Sequence[Item]) -> list[StepScores]:
        """Score each solution, in order."""
        return self._http.run(self._score(items))

    async def score_async(self, items: Sequence[Item]) -> list[StepScores]:
        """Score each solution, in order, without blocking the event loop that calls."""
        return await asyncio.wrap_future(self._http.start(self._score(items)))

    def close(self) -> None:
        """End the connection."""
        self._http.close()

    def __enter__(self) -> Service:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()

    async def _score(self, items: Sequence[Item]) -> list[StepScores]:
        for number, item in enumerate(items):
            _check(number, item)
        slots = asyncio.Semaphore(2 * self._running)  # bodies with pictures are large: few wait

        async def one(item: Item) -> StepScores:
            async with slots:
                return await self._one(item)

        tasks = [asyncio.ensure_future(one(item)) for item in items]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()

    async def _one(self, item: Item) -> StepScores:
        columns = 3 if self.contract.counted else 2
        try:
            rows, tokens = await self._http.ask(
                "POST", "/pooling", self._body(item), lambda: self._tries, lambda text: _rows(text, columns)
            )
        except RequestRefusedError as error:
            if error.status == 400 and any(words in str(error) for words in _TOO_LONG):
                return StepScores()
            if error.status == 404:
                raise UserError(f"the server no longer serves {self.contract.name}: {error}") from None
            raise UserError(f"the scoring service refuses a solution: {error}") from None
        scores = StepScores.of_rows(rows)
        check_scores(item, scores)
        self.prompt_tokens += tokens
        return scores

    def _body(self, item: Item) -> dict[str, Any]:
        problem, steps, answer = item
        if problem.images and not self.contract.reads_images:
            raise UserError(f"{self.contract.name} reads text alone, and a problem has an image")
        text = question_text(problem, self.contract.instruction, self.contract.control)
        pictures = [{"type": "image_url", "image_url": {"url": self._uri(image)}} for image in problem.images]
        marked = render_solution(steps, answer, MARKER)
        # As one message whose end is left open: the server's chat template is the model's own.
        content = [*pictures, {"type": "text", "text": text}]
        messages = [{"role": "user", "content": content}, {"role": "assistant", "content": marked}]
        body = {"model": self.contract.name, "messages": messages, "continue_final_message": True}
        return body | {"add_generation_prompt": False, "use_activation": False}


def _check(number: int, item: Item) -> None:
    _, steps, answer = item
    texts = [*steps, *([] if answer is None else [answer])]
    if not texts:
        raise UserError(f"solution {number} has neither steps nor an answer: there is nothing to score")
    if any(has_control(text) or not text.strip() for text in texts):
        raise UserError(f"solution {number}: a step or its answer is empty or has a tag in it, such as <prm>")


def _rows(text: str, columns: int) -> tuple[list[list[float]], int]:
    """Return the logits of each marker and the tokens read; ValueError where a reply is no such thing."""
    try:
        reply = json.loads(text)
        rows = [[float(value) for value in row] for row in reply["data"][0]["data"]]
        tokens = int(reply["usage"]["prompt_tokens"])
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError(f"no scores: {error}") from None
    if any(len(row) != columns or not all(map(math.isfinite, row)) for row in rows):
        raise ValueError("no logits")
    return rows, tokens


def _encoded(image: Any) -> bytes:
    """Return an image's file; a PIL image becomes a PNG, the hub's dictionary has bytes or a path."""
    if isinstance(image, dict):
        image = image.get("bytes") or image.get("path")
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | Path):
        return Path(image).read_bytes()
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
