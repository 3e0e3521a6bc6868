"""Run many tasks at once: one that waits for a verdict or the model delays no other. In: tasks. Out: results, in order.

At most `window` items are in memory; the result of one waits until all before it are known, so that neither the order
of replies nor an interruption can show in a table. At most `at_once` calls are in flight, or have returned and are not
in the journal yet: a kill loses no more.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from mmprm.grading import Grader
from mmprm.grading.grader import PendingVerdicts
from mmprm.llm.client import LlmClient
from mmprm.llm.tasks import AnswerCheck, ItemRefusedError, LlmTask, Refused

Item = TypeVar("Item")
T = TypeVar("T")
_FORGET = 20_000  # items after which the grader forgets its verdicts


@dataclass
class _Running(Generic[Item, T]):
    item: Item
    task: LlmTask[T]
    done: bool = False
    result: T | Refused | None = None

    def pair(self) -> tuple[Item, T | Refused]:
        return self.item, cast("T | Refused", self.result)


class BatchRunner:
    """Runs tasks with a grader, for those that check answers, and a client, for those that ask a model."""

    def __init__(self, grader: Grader | None, client: LlmClient | None, window: int, at_once: int = 1) -> None:
        self._grader = grader
        self._client = client
        self._window = window
        self._at_once = at_once
        self._checks: list[tuple[_Running[Any, Any], PendingVerdicts]] = []

    def results(self, tasks: Iterable[tuple[Item, LlmTask[T]]]) -> Iterator[tuple[Item, T | Refused]]:
        """Iterate over (item, result) in the order of the tasks. Raises UserError if the model is gone."""
        waiting: deque[_Running[Item, T]] = deque()
        for number, (item, task) in enumerate(tasks, start=1):
            if self._grader is not None and number % _FORGET == 0:  # or its cache would grow with the table
                while self._checks:
                    self._work()
                self._grader.forget()
            while self._pending >= self._at_once or (len(waiting) >= self._window and not waiting[0].done):
                self._work()
            running = _Running(item, task)
            waiting.append(running)
            self._advance(running, None)
            while waiting and waiting[0].done:
                yield waiting.popleft().pair()
        while waiting:
            while not waiting[0].done:
                self._work()
            yield waiting.popleft().pair()

    @property
    def _pending(self) -> int:
        return self._client.pending if self._client else 0

    def _advance(self, running: _Running[Any, Any], answer: Any) -> None:
        """Continue a task until it has to wait, or ends."""
        while True:
            try:
                asked = running.task.send(answer)
            except StopIteration as end:
                running.result, running.done = end.value, True
                return
            except ItemRefusedError as error:
                running.result, running.done = error.refused, True
                return
            if isinstance(asked, AnswerCheck):
                assert self._grader is not None, "only tasks with answers have them checked"
                pending = self._grader.start([(asked.answer, asked.problem)])
                if not pending.done:
                    self._checks.append((running, pending))
                    return
                answer = pending.verdicts[0]
            else:
                assert self._client is not None, "only tasks with a model call one"
                answer = self._client.ask(asked, running)
                if answer is None:
                    return

    def _work(self) -> None:
        """Take in replies and verdicts; if there are none, wait a moment for one."""
        calls = self._pending > 0
        if self._client is not None and calls:
            for running, reply in self._client.step():
                self._advance(running, reply)
        if self._checks and self._grader is not None:
            self._grader.wait(0.0 if calls else 1.0)
            checks, self._checks = self._checks, []
            for running, pending in checks:
                if pending.done:
                    self._advance(running, pending.verdicts[0])
                else:
                    self._checks.append((running, pending))
