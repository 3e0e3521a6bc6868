"""`Grader` grades many answers: easy ones at once, the others in processes that are killed when they hang.

In: (answer, problem) pairs. Out: one `Graded` each, either when all are done (`grade_many`) or while the caller
continues with other work (`start`). A time-out or a crash gives `undecided` after one retry, never "incorrect"; the
next run tries it again. If a judge is configured, it decides what the rules did not understand or left undecided.
"""

from __future__ import annotations

import concurrent.futures
import math
import multiprocessing
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmprm import config
from mmprm.data.problem import Problem
from mmprm.grading import expression, rules, time_limit
from mmprm.grading.rules import VERSION, Graded, Verdict, graded
from mmprm.grading.time_limit import OutOfTimeError
from mmprm.model.step_text import question_text

if TYPE_CHECKING:
    from mmprm.grading.judge import Judge

BUDGET = 60.0  # seconds that the slow formulas of a file may take together, before all have little time
_MOST_KILLS = 5  # formulas of a file that may take a process with them, before the others are left undecided
_AHEAD = 64  # formulas that wait for each process
GradingKey = tuple[rules.Target, str, str]  # target, answer, and the question if a judge reads it


def grade(answer: str | None, problem: Problem) -> Graded:
    """Grade one answer in this process, without a time limit; stages use `Grader`."""
    target = rules.target_of(problem)
    if decided := rules.decide(target, answer):
        return decided
    return graded(bool(expression.compare(rules.symbolic_gold(target), answer or "", target.closeness)), "math_verify")


@dataclass(frozen=True)
class PendingVerdicts:
    """Verdicts of several answers, some of which may still be computed."""

    keys: tuple[GradingKey, ...]
    cache: Mapping[GradingKey, Graded]

    @property
    def done(self) -> bool:
        """Tell whether all verdicts are there; only `Grader.wait` makes progress."""
        return all(key in self.cache for key in self.keys)

    @property
    def verdicts(self) -> list[Graded]:
        """Return one verdict for each item, in order; KeyError unless `done`."""
        return [self.cache[key] for key in self.keys]


class Grader:
    """A context manager. Its processes start with the first answer that needs them; integers never do."""

    def __init__(
        self, workers: int = 2, timeout: float = 5.0, judge: Judge | None = None, patient: bool = True
    ) -> None:
        """Create a grader; `patient`: an answer that takes longer than `timeout` seconds gets a second try.

        Without it, as for a file of answers from anywhere, slow answers have a budget together (BUDGET), and after
        _MOST_KILLS that end their process the formulas that are left stay undecided.
        """
        self.workers, self.timeout, self.judge, self.patient = workers, timeout, judge, patient
        self._pool: Any = None
        self._cache: dict[GradingKey, Graded] = {}
        self._waiting: deque[tuple[GradingKey, int]] = deque()  # formulas to compare, and how many tries came before
        self._running: dict[GradingKey, tuple[Any, int]] = {}  # those that the processes have
        self._kills = 0  # comparisons that took their process with them
        self._open: set[GradingKey] = set()  # all that wait or run
        self._asked: dict[GradingKey, Future[Graded]] = {}  # the judge

    @classmethod
    def of(cls, settings: config.GradingSettings) -> Grader:
        """Create the grader of a run's configuration."""
        if settings.judge is None:
            return cls(settings.workers, settings.timeout)
        from mmprm.grading.judge import Judge

        return cls(settings.workers, settings.timeout, Judge(settings.judge))

    @property
    def version(self) -> str:
        """Name what the verdicts depend on: the rules and the judge."""
        return VERSION if self.judge is None else f"{VERSION}, judge {self.judge.identity}"

    def __enter__(self) -> Grader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the processes, including those that hang, and the judge's threads."""
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()
            self._pool = None
        if self.judge is not None:
            self.judge.close()

    def forget(self) -> None:
        """Empty the cache, so that millions of answers fit in memory; all `PendingVerdicts` must have been read."""
        self._cache.clear()

    def grade_many(self, items: Sequence[tuple[str | None, Problem]]) -> list[Graded]:
        """Return verdicts in the order of the items."""
        pending = self.start(items)
        while not pending.done:
            self.wait(1.0)
        return pending.verdicts

    def start(self, items: Sequence[tuple[str | None, Problem]]) -> PendingVerdicts:
        """Begin to grade; equal answers to the same gold (and question, for a judge) are compared once."""
        keys = []
        for answer, problem in items:
            # Interned, since a long run's cache holds it many times.
            question = "" if self.judge is None else sys.intern(question_text(problem))
            keys.append((rules.target_of(problem), answer or "", question))
        return self.start_keys(keys)

    def start_keys(self, keys: Sequence[GradingKey]) -> PendingVerdicts:
        """Begin to grade (target, answer, question) keys; the question is empty if no judge is asked."""
        for key in dict.fromkeys(keys):
            if key in self._cache or key in self._open or key in self._asked:
                continue
            decided = rules.decide(*key[:2])
            if decided is None:
                self._open.add(key)
                self._waiting.append((key, 0))
            else:
                read = decided.verdict is not Verdict.INCORRECT or rules.was_read(*key[:2])
                self._settle(key, decided, read and decided.method != "size")
        self._feed()
        return PendingVerdicts(tuple(keys), self._cache)

    def _feed(self) -> None:
        """Give the processes work. Few wait there, so that what the first ones show decides on the others."""
        most = self.workers * (_AHEAD if self.patient else 4)
        while self._waiting and len(self._running) < most:
            key, before = self._waiting.popleft()
            if not self.patient and self._kills >= _MOST_KILLS:
                self._settle(key, Graded(Verdict.UNDECIDED, "budget"), False)
            else:
                self._running[key] = self._schedule(key), before

    def wait(self, seconds: float) -> None:
        """Collect finished comparisons and the judge's replies; if there are none, wait at most `seconds` for one."""
        futures = [*(future for future, _ in self._running.values()), *self._asked.values()]
        if futures and seconds:  # `wait` locks each of perhaps thousands of futures
            concurrent.futures.wait(futures, seconds, concurrent.futures.FIRST_COMPLETED)
        for key, asked in list(self._asked.items()):
            if asked.done():
                self._cache[key] = self._asked.pop(key).result()
        for key, (future, before) in list(self._running.items()):
            if not future.done():
                continue
            del self._running[key]
            try:
                same = future.result()
            except Exception as error:  # a formula may break sympy, its process or its memory in any way
                late = isinstance(error, TimeoutError)
                self._kills += not isinstance(error, OutOfTimeError)
                if before or (late and not self.patient):
                    name = TimeoutError.__name__ if late else type(error).__name__
                    self._settle(key, Graded(Verdict.UNDECIDED, f"math_verify:{name}"), False)
                else:
                    self._waiting.appendleft((key, before + 1))
            else:
                self._settle(key, graded(bool(same), "math_verify"), same is not None)
        self._feed()

    def _settle(self, key: GradingKey, verdict: Graded, final: bool) -> None:
        """Record a verdict; if it is not final and there is a judge, ask the judge instead."""
        self._open.discard(key)
        if final or self.judge is None:
            self._cache[key] = verdict
        else:
            target, answer, question = key
            self._asked[key] = self.judge.start(question, target.gold, answer)

    def _schedule(self, key: GradingKey) -> Any:
        from pebble import ProcessPool

        if self._pool is None:
            # Spawned, not forked: the parent may hold a GPU or the threads of an engine.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPool(
                max_workers=self.workers, max_tasks=2000, initializer=expression.prepare_worker, context=context
            )
        target, answer, _ = key
        budget = math.inf if self.patient else BUDGET / self.workers
        arguments = rules.symbolic_gold(target), answer, target.closeness, self.timeout, budget
        return self._pool.schedule(time_limit.compare, args=arguments, timeout=self.timeout + time_limit.GRACE)
