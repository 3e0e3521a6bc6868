"""Many solutions at once: what waits for a verdict or the model holds up no other. In: works. Out: outcomes, in order.

At most `window` problems are in memory; the outcome of one waits there until all before it are known, so that neither
the order of replies nor an interruption can show in a table. At most `at_once` calls are on their way or have come back
and are not yet in the journal: a kill loses no more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mmprm.grading import Grader
from mmprm.problem import Problem
from mmprm.tagging.calls import Caller
from mmprm.tagging.outcome import Check, Outcome, RefusedError, Work

_FORGET = 20_000  # problems after which the grader forgets its verdicts


@dataclass
class _Task:
    problem: Problem
    work: Work
    outcome: Outcome | None = None


class Crew:
    """Drives works over one grader and, where there is a model, one caller."""

    def __init__(self, grader: Grader, caller: Caller | None, window: int, at_once: int = 1) -> None:
        self._grader = grader
        self._caller = caller
        self._window = window
        self._at_once = at_once
        self._checks: list[tuple[_Task, Any]] = []

    def outcomes(self, works: Iterable[tuple[Problem, Work]]) -> Iterator[tuple[Problem, Outcome]]:
        """(problem, outcome) in the order of the works. Raises UserError when the model is gone."""
        waiting: deque[_Task] = deque()
        for number, (problem, work) in enumerate(works, start=1):
            if number % _FORGET == 0:  # else the grader's cache would grow with the table
                while self._checks:
                    self._work()
                self._grader.forget()
            while self._pending >= self._at_once or (len(waiting) >= self._window and waiting[0].outcome is None):
                self._work()
            task = _Task(problem, work)
            waiting.append(task)
            self._advance(task, None)
            while waiting and waiting[0].outcome is not None:
                yield waiting[0].problem, waiting[0].outcome
                waiting.popleft()
        while waiting:
            while waiting[0].outcome is None:
                self._work()
            yield waiting[0].problem, waiting[0].outcome
            waiting.popleft()

    @property
    def _pending(self) -> int:
        return self._caller.pending if self._caller else 0

    def _advance(self, task: _Task, value: Any) -> None:
        """Go on with a work until it has to wait, or ends."""
        while True:
            try:
                asked = task.work.send(value)
            except StopIteration as end:
                task.outcome = end.value
                return
            except RefusedError as error:
                task.outcome = error.refused
                return
            if isinstance(asked, Check):
                grading = self._grader.start([(asked.answer, asked.problem)])
                if not grading.done:
                    self._checks.append((task, grading))
                    return
                value = grading.verdicts[0]
            else:
                assert self._caller is not None, "only works by a model call one"
                value = self._caller.ask(asked, task)
                if value is None:
                    return

    def _work(self) -> None:
        """Take in replies and verdicts; where there are none, wait a moment for one."""
        calls = self._pending > 0
        if self._caller is not None and calls:
            for task, reply in self._caller.step():
                self._advance(task, reply)
        if self._checks:
            self._grader.wait(0.0 if calls else 1.0)
            checks, self._checks = self._checks, []
            for task, grading in checks:
                if grading.done:
                    self._advance(task, grading.verdicts[0])
                else:
                    self._checks.append((task, grading))
