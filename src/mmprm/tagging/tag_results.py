"""What becomes of tagged solutions. In: results. Out: rows of the tagged problems, a table of the refused, counts."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, row_of
from mmprm.grading import Graded, Verdict
from mmprm.llm.tasks import ItemRefusedError, LlmTask, Refused
from mmprm.runtime.errors import UserError
from mmprm.runtime.progress import Progress


@dataclass(frozen=True)
class TaggedSolution:
    """A step-tagged solution.

    method: tagged (it was already), numbered, blank_lines, lines, sentences, whole or model. answer_from: solution, or
    gold if the solution states none. tries: how many rewrites a model was asked for.
    """

    solution: str
    method: str
    n_steps: int
    answer_from: str = "solution"
    tries: int = 0


TagResult = TaggedSolution | Refused
TagTask = LlmTask[TaggedSolution]


def require_solution(problem: Problem) -> str:
    """Return the problem's solution. Raises ItemRefusedError if it has none."""
    if problem.solution is None or not problem.solution.strip():
        raise ItemRefusedError("no_solution", "the problem has no solution")
    return problem.solution.strip()


def require_correct(verdict: object, answer: str, problem: Problem) -> None:
    """Raise ItemRefusedError unless the answer was graded as correct."""
    assert isinstance(verdict, Graded)
    if verdict.verdict is Verdict.UNDECIDED:
        detail = f"{answer!r} could not be compared with the problem's {problem.answer!r}"
        raise ItemRefusedError("answer_undecided", detail)
    if verdict.verdict is not Verdict.CORRECT:
        detail = f"the solution's answer is {answer!r:.200}, the problem's {problem.answer!r:.200}"
        raise ItemRefusedError("answer_differs", f"{detail} (compared by {verdict.method})")


@dataclass
class TagCounts:
    """Numbers of solutions by method, reason for refusal, number of steps, origin of the answer and tries."""

    problems: int = 0
    tagged: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    steps: Counter[int] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    tries: Counter[int] = field(default_factory=Counter)

    def add(self, result: TagResult) -> None:
        """Count a solution."""
        self.problems += 1
        if not isinstance(result, TaggedSolution):
            self.refused[result.reason] += 1
            return
        self.tagged[result.method] += 1
        self.steps[result.n_steps] += 1
        self.answers[result.answer_from] += 1
        if result.tries:
            self.tries[result.tries] += 1

    def __str__(self) -> str:
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.refused.most_common())
        return f"{self.tagged.total()} kept, {self.refused.total()} refused{f' ({reasons})' if reasons else ''}"


def tagged_rows(
    name: str, results: Iterable[tuple[Problem, TagResult]], total: int, bound: float, stopped: Path, counts: TagCounts
) -> Iterator[dict[str, Any]]:
    """Yield the rows of PROBLEMS that were tagged; after the last one, `stopped` holds the refused ones.

    UserError, so that no table is written, if none was tagged or more than the share `bound` was refused. `total` is
    the number of problems.
    """
    with tables.appending(stopped, schemas.REFUSED) as refuse, Progress("tagged", total, "solutions") as bar:
        for number, (problem, result) in enumerate(results):
            counts.add(result)
            bar.update(number + 1)
            if isinstance(result, TaggedSolution):
                yield row_of(replace(problem, solution=result.solution))
                continue
            row = {"source": problem.source, "row": number, "problem_id": problem.problem_id}
            refuse({**row, "reason": result.reason, "detail": result.detail})
    if not counts.tagged or counts.refused.total() > bound * counts.problems:
        raise UserError(
            f"source {name}: of {counts.problems} solutions {counts}; sources.{name}.max_refused_share is {bound}: "
            f"see {stopped}, and fix the solutions, change the limits, or raise the bound"
        )
