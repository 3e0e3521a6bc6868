"""Tasks: what a stage does with one item, as a generator. In and out: values.

`LlmTask` yields what it needs (a verdict, or a model's reply), is sent it, and returns the item's result or raises
ItemRefusedError. It has no other input or output, so that the same replies always give the same result.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from mmprm.data.problem import Problem
from mmprm.engine.base import Completion
from mmprm.grading import Graded

T = TypeVar("T")


@dataclass(frozen=True)
class AnswerCheck:
    """Asks whether an answer is the problem's. Answered by a `Graded`."""

    answer: str
    problem: Problem


@dataclass(frozen=True)
class LlmCall:
    """A prompt for the model, as the question and the images of a problem. `stage` and `attempt` decide its seed.

    Answered by a Completion, or by a text that says why there is none.
    """

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


def complete_text(reply: object) -> str:
    """Return the text of a reply. Raises ItemRefusedError if there is none, or it was cut off."""
    if isinstance(reply, str):
        raise ItemRefusedError("no_reply", reply)
    assert isinstance(reply, Completion)
    if reply.finish_reason == "length":
        raise ItemRefusedError(
            "reply_truncated", f"the reply was cut after {reply.n_tokens} tokens; see max_new_tokens"
        )
    return reply.text
