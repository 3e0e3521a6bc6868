"""What may become of a solution that is to be tagged. In and out: values.

`Work` is a generator a problem: it yields what it needs (a verdict, or a model's reply), is sent it, and returns the
outcome. It has no input or output of its own, so that the same replies always give the same outcome.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from mmprm.engine.base import Completion
from mmprm.grading import Graded, Verdict
from mmprm.problem import Problem


@dataclass(frozen=True)
class Kept:
    """`solution` is step-tagged. `method`: tagged (it was already), numbered, blank_lines, lines, sentences, whole or
    model; `answer_from`: solution, or gold where it states none; `tries`: rewrites that were asked for."""

    solution: str
    method: str
    n_steps: int
    answer_from: str = "solution"
    tries: int = 0


@dataclass(frozen=True)
class Refused:
    """`reason` is a short code, `detail` a sentence for a person."""

    reason: str
    detail: str


class RefusedError(Exception):
    """A solution that cannot be used."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.refused = Refused(reason, detail)


@dataclass(frozen=True)
class Check:
    """Is this answer the problem's? Answered by a `Graded`."""

    answer: str
    problem: Problem


@dataclass(frozen=True)
class Call:
    """A prompt for the model, as the question of a problem with the images that it is shown. `stage` and `attempt` make
    its seed. Answered by a Completion, or by a text that says why there is none."""

    prompt: Problem
    stage: str
    attempt: int


Outcome = Kept | Refused
Work = Generator[Check | Call, "Graded | Completion | str", Outcome]


def check_verdict(verdict: object, answer: str, problem: Problem) -> None:
    """Raise RefusedError unless the answer is right."""
    assert isinstance(verdict, Graded)
    if verdict.verdict is Verdict.CORRECT:
        return
    if verdict.verdict is Verdict.UNDECIDED:
        raise RefusedError(
            "answer_undecided", f"{answer!r} could not be compared with the problem's {problem.answer!r}"
        )
    said = f"the solution's answer is {answer!r:.200}, the problem's {problem.answer!r:.200}"
    raise RefusedError("answer_differs", f"{said} (compared by {verdict.method})")
