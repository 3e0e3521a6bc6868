"""`Grader`: grades many answers, the easy ones at once, the others in processes that are killed when they hang.

In: (answer, problem) pairs. Out: one `Graded` each, at once (`grade_many`) or while the caller goes on with other work
(`start`). A time-out or a crash gives `undecided` after one retry, never
"wrong" (defect 2). The cache lives as long as the Grader: an undecided answer gets a new chance in the next run.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from mmprm.grading import expression, rules
from mmprm.grading.verdict import Graded, Verdict, graded
from mmprm.problem import Problem

_Key = tuple[rules.Target, str]


def grade(answer: str | None, problem: Problem) -> Graded:
    """Grade one answer in this process, without a time limit; `Grader` is what stages use."""
    target = rules.target_of(problem)
    decided = rules.decide(target, answer)
    if decided is not None or answer is None:
        return decided or Graded(Verdict.UNPARSED, "none")
    return graded(expression.same(rules.symbolic_gold(target), answer), "math_verify")


@dataclass(frozen=True)
class Grading:
    """Verdicts that are being made."""

    keys: tuple[_Key, ...]
    cache: Mapping[_Key, Graded]

    @property
    def done(self) -> bool:
        """Are all verdicts there? Asking costs nothing; `Grader.wait` brings it about."""
        return all(key in self.cache for key in self.keys)

    @property
    def verdicts(self) -> list[Graded]:
        """One for each item, in order; KeyError unless `done`."""
        return [self.cache[key] for key in self.keys]


class Grader:
    """A context manager. The processes start with the first answer that needs them: integers never do."""

    def __init__(self, workers: int = 2, timeout: float = 5.0) -> None:
        self.workers = workers
        self.timeout = timeout
        self._pool: Any = None
        self._cache: dict[_Key, Graded] = {}
        self._running: dict[_Key, tuple[Any, int]] = {}  # the comparison, and how many came before it

    def __enter__(self) -> Grader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the processes, also those that hang."""
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()
            self._pool = None

    def grade_many(self, items: Sequence[tuple[str | None, Problem]]) -> list[Graded]:
        """Verdicts in the order of the items."""
        grading = self.start(items)
        while not grading.done:
            self.wait(1.0)
        return grading.verdicts

    def start(self, items: Sequence[tuple[str | None, Problem]]) -> Grading:
        """Begin to grade; equal answers to the same gold are compared once."""
        keys: list[_Key] = [(rules.target_of(problem), answer or "") for answer, problem in items]
        for key in dict.fromkeys(keys):
            if key in self._cache or key in self._running:
                continue
            decided = rules.decide(*key)
            if decided is None:
                self._running[key] = self._schedule(key), 0
            else:
                self._cache[key] = decided
        return Grading(tuple(keys), self._cache)

    def wait(self, seconds: float) -> None:
        """Take in the comparisons that ended; where none has, wait for the first, at most `seconds`."""
        if not self._running:
            return
        concurrent.futures.wait(
            [future for future, _ in self._running.values()], seconds, concurrent.futures.FIRST_COMPLETED
        )
        for key, (future, before) in list(self._running.items()):
            if not future.done():
                continue
            del self._running[key]
            try:
                self._cache[key] = graded(future.result(), "math_verify")
            except Exception as error:  # whatever a formula does to sympy, its process or its memory
                if before:
                    self._cache[key] = Graded(Verdict.UNDECIDED, f"math_verify:{type(error).__name__}")
                else:
                    self._running[key] = self._schedule(key), before + 1

    def _schedule(self, key: _Key) -> Any:
        from pebble import ProcessPool

        if self._pool is None:
            # Spawned, not forked: the parent may hold a GPU or the threads of an engine.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPool(
                max_workers=self.workers, max_tasks=2000, initializer=expression.prepare_worker, context=context
            )
        target, answer = key
        return self._pool.schedule(expression.same, args=(rules.symbolic_gold(target), answer), timeout=self.timeout)
