"""Many items at once: what waits for a verdict or the model holds up no other. In: works. Out: outcomes, in order.

At most `window` items are in memory; the outcome of one waits there until all before it are known, so that neither
the order of replies nor an interruption can show in a table. At most `at_once` calls are on their way or have come back
and are not yet in the journal: a kill loses no more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from mmprm.grading import Grader
from mmprm.llm.client import LlmClient
from mmprm.llm.tasks import AnswerCheck, ItemRefusedError, LlmTask, Refused

Item = TypeVar("Item")
T = TypeVar("T")
_FORGET = 20_000  # items after which the grader forgets its verdicts


@dataclass
class _Task(Generic[Item, T]):
    item: Item
    work: LlmTask[T]
    done: bool = False
    outcome: T | Refused | None = None

    def result(self) -> tuple[Item, T | Refused]:
        return self.item, cast("T | Refused", self.outcome)


class BatchRunner:
    """Drives works over a grader, for those that check answers, and a caller, for those that ask a model."""

    def __init__(self, grader: Grader | None, caller: LlmClient | None, window: int, at_once: int = 1) -> None:
        self._grader = grader
        self._caller = caller
        self._window = window
        self._at_once = at_once
        self._checks: list[tuple[_Task[Any, Any], Any]] = []

    def outcomes(self, works: Iterable[tuple[Item, LlmTask[T]]]) -> Iterator[tuple[Item, T | Refused]]:
        """(item, outcome) in the order of the works. Raises UserError when the model is gone."""
        waiting: deque[_Task[Item, T]] = deque()
        for number, (item, work) in enumerate(works, start=1):
            if self._grader is not None and number % _FORGET == 0:  # else the grader's cache would grow with the table
                while self._checks:
                    self._work()
                self._grader.forget()
            while self._pending >= self._at_once or (len(waiting) >= self._window and not waiting[0].done):
                self._work()
            task = _Task(item, work)
            waiting.append(task)
            self._advance(task, None)
            while waiting and waiting[0].done:
                yield waiting.popleft().result()
        while waiting:
            while not waiting[0].done:
                self._work()
            yield waiting.popleft().result()

    @property
    def _pending(self) -> int:
        return self._caller.pending if self._caller else 0

    def _advance(self, task: _Task[Any, Any], value: Any) -> None:
        """Go on with a work until it has to wait, or ends."""
        while True:
            try:
                asked = task.work.send(value)
            except StopIteration as end:
                task.outcome, task.done = end.value, True
                return
            except ItemRefusedError as error:
                task.outcome, task.done = error.refused, True
                return
            if isinstance(asked, AnswerCheck):
                assert self._grader is not None, "only works of answers have them checked"
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
        if self._checks and self._grader is not None:
            self._grader.wait(0.0 if calls else 1.0)
            checks, self._checks = self._checks, []
            for task, grading in checks:
                if grading.done:
                    self._advance(task, grading.verdicts[0])
                else:
                    self._checks.append((task, grading))
