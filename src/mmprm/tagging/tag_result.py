"""What may become of a solution that is to be tagged. In and out: values."""

from __future__ import annotations

from dataclasses import dataclass

from mmprm.data.problem import Problem
from mmprm.grading import Graded, Verdict
from mmprm.llm import tasks
from mmprm.llm.tasks import ItemRefusedError, Refused


@dataclass(frozen=True)
class Kept:
    """`solution` is step-tagged. `method`: tagged (it was already), numbered, blank_lines, lines, sentences, whole or
    model; `answer_from`: solution, or gold where it states none; `tries`: rewrites that were asked for."""

    solution: str
    method: str
    n_steps: int
    answer_from: str = "solution"
    tries: int = 0


TagResult = Kept | Refused
TagTask = tasks.LlmTask[Kept]


def check_verdict(verdict: object, answer: str, problem: Problem) -> None:
    """Raise RefusedError unless the answer is right."""
    assert isinstance(verdict, Graded)
    if verdict.verdict is Verdict.CORRECT:
        return
    if verdict.verdict is Verdict.UNDECIDED:
        raise ItemRefusedError(
            "answer_undecided", f"{answer!r} could not be compared with the problem's {problem.answer!r}"
        )
    said = f"the solution's answer is {answer!r:.200}, the problem's {problem.answer!r:.200}"
    raise ItemRefusedError("answer_differs", f"{said} (compared by {verdict.method})")
