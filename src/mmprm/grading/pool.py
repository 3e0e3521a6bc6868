"""`Grader`: grades many answers, the easy ones at once, the others in processes that are killed when they hang.

In: (answer, problem) pairs. Out: one `Graded` each. A time-out or a crash gives `undecided` after one retry, never
"wrong" (defect 2). The cache lives as long as the Grader: an undecided answer gets a new chance in the next run.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
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


class Grader:
    """A context manager. The processes start with the first answer that needs them: integers never do."""

    def __init__(self, workers: int = 2, timeout: float = 5.0) -> None:
        self.workers = workers
        self.timeout = timeout
        self._pool: Any = None
        self._cache: dict[_Key, Graded] = {}

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
        """Verdicts in the order of the items; equal answers to the same gold are compared once."""
        keys: list[_Key] = [(rules.target_of(problem), answer or "") for answer, problem in items]
        slow = []
        for key in dict.fromkeys(keys):
            if key not in self._cache:
                decided = rules.decide(*key)
                if decided is None:
                    slow.append(key)
                else:
                    self._cache[key] = decided
        self._compare(slow)
        return [self._cache[key] for key in keys]

    def _compare(self, keys: list[_Key]) -> None:
        failed = self._round(keys)
        failed = self._round(list(failed)) if failed else {}
        self._cache.update({key: Graded(Verdict.UNDECIDED, f"math_verify:{reason}") for key, reason in failed.items()})

    def _round(self, keys: list[_Key]) -> dict[_Key, str]:
        """Compare each once; what failed, and how."""
        futures = {key: self._schedule(key) for key in keys}
        failed = {}
        for key, future in futures.items():
            try:
                self._cache[key] = graded(future.result(), "math_verify")
            except Exception as error:  # whatever a formula does to sympy, its process or its memory
                failed[key] = type(error).__name__
        return failed

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
