"""What a stage does with one item, and how it ends. In and out: values.

`LlmTask` is a generator an item: it yields what it needs (a verdict, or a model's reply), is sent it, and returns what
came of the item, or raises RefusedError. It has no input or output of its own, so that the same replies always give the
same outcome.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from mmprm.data.problem import Problem
from mmprm.engine.base import Completion
from mmprm.grading import Graded

T = TypeVar("T")
_THOUGHT = re.compile(r"^.*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class AnswerCheck:
    """Is this answer the problem's? Answered by a `Graded`."""

    answer: str
    problem: Problem


@dataclass(frozen=True)
class LlmCall:
    """A prompt for the model, as the question of a problem with the images that it is shown. `stage` and `attempt` make
    its seed. Answered by a Completion, or by a text that says why there is none."""

    prompt: Problem
    stage: str
    attempt: int


LlmTask = Generator[AnswerCheck | LlmCall, Graded | Completion | str, T]


@dataclass(frozen=True)
class Refused:
    """`reason` is a short code, `detail` a sentence for a person."""

    reason: str
    detail: str


class ItemRefusedError(Exception):
    """An item, or a reply, that cannot be used."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.refused = Refused(reason, detail)


def whole(reply: object) -> str:
    """The text of a whole reply. Raises RefusedError."""
    if isinstance(reply, str):
        raise ItemRefusedError("no_reply", reply)
    assert isinstance(reply, Completion)
    if reply.finish_reason == "length":
        raise ItemRefusedError(
            "reply_truncated", f"the reply was cut after {reply.n_tokens} tokens; see max_new_tokens"
        )
    return reply.text


def without_thought(text: str) -> str:
    """A reply without the reasoning that a model writes before it, up to `</think>`."""
    return _THOUGHT.sub("", text)
