"""Runs many searches over one engine, so that its batch never runs dry and no slow search holds up another (defect 9).

A search is a generator that yields a Request (and is sent its rollouts) or a list of Requests (and is sent the list of
their rollouts); or AFTER_OTHERS (and is sent None), to go on after all that have not begun. A finished request is
graded, appended to the journal, and only then used; while answers are compared the engine goes on. What the journal
holds is answered from it; the engine is opened at the first request that it does not hold.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from mmprm.annotation.omegaprm import RequestFailed
from mmprm.annotation.tree import Rollout
from mmprm.data.problem import Problem
from mmprm.engine.base import Completion, Engine, EngineStats, Finished, Request
from mmprm.model.step_text import Parsed, Status, parse
from mmprm.rollouts.journal import Entry, Journal
from mmprm.runtime.log import log

Rollouts = tuple[Rollout, ...]
AFTER_OTHERS = "after others"
_PATIENCE = 0.5  # seconds to wait for a comparison when there is nothing else to do


class _Graded(Protocol):
    @property
    def verdict(self) -> str: ...

    @property
    def method(self) -> str: ...


class _Grading(Protocol):
    @property
    def done(self) -> bool: ...

    @property
    def verdicts(self) -> Sequence[_Graded]: ...


class AnswerGrader(Protocol):
    """What the scheduler needs of mmprm.grading.Grader."""

    def start(self, items: list[tuple[str | None, Problem]]) -> _Grading:
        """Begin to give a verdict for each (answer, problem)."""

    def wait(self, seconds: float) -> None:
        """Let comparisons end: those that have, or the first one, but no longer than this."""


@dataclass(frozen=True)
class SearchResult:
    """What a search returned, or why it has nothing to return."""

    value: Any = None
    error: str | None = None


@dataclass(frozen=True)
class _InGrading:
    """A finished request that waits for its verdicts."""

    finished: Finished
    solutions: list[Parsed]
    grading: _Grading | None  # None: nothing to compare


@dataclass
class _Open:
    """A search that waits for answers."""

    name: str
    search: Generator[Any, Any, Any]
    single: bool = True
    answers: list[Rollouts | None] = field(default_factory=list)
    error: str | None = None


class Scheduler:
    """See the module. `grading` is the version of the grader's rules: verdicts of another version are made anew.

    `report` is called often, for a progress line that is made from the counters.
    """

    def __init__(
        self,
        open_engine: Callable[[], Engine],
        grader: AnswerGrader,
        journal: Journal,
        grading: str,
        open_limit: int,
        report: Callable[[Scheduler], None] = lambda scheduler: None,
    ) -> None:
        self.ended_searches = 0
        self.replayed_requests = 0
        self.replayed_completions = 0
        self.sampled_completions = 0
        self.sampled_tokens = 0
        self.startup_seconds = 0.0
        self._open_engine = open_engine
        self._engine: Engine | None = None
        self._grader = grader
        self._journal = journal
        self._grading = grading
        self._open_limit = open_limit
        self._report = report
        self._waiters: dict[str, tuple[Request, list[tuple[_Open, int]]]] = {}
        self._to_regrade: dict[str, Finished] = {}
        self._in_grading: list[_InGrading] = []
        self._paused: deque[_Open] = deque()
        self._ended: Callable[[str, SearchResult], None] = lambda name, outcome: None
        self._n_open = 0

    @property
    def stats(self) -> EngineStats:
        """The engine's totals; all zero where no engine was needed."""
        return self._engine.stats if self._engine is not None else EngineStats()

    def run(
        self, searches: Iterable[tuple[str, Generator[Any, Any, Any]]], ended: Callable[[str, SearchResult], None]
    ) -> None:
        """Run named searches to their ends, at most `open_limit` at a time. `ended` is given each outcome as it comes,
        in any order; none is kept here."""
        waiting = iter(searches)
        self._ended = ended
        while True:
            while self._n_open < self._open_limit and (following := self._following(waiting)) is not None:
                self._n_open += 1
                self._advance(following, None)
            if not self._n_open:
                return
            self._step()
            self._report(self)

    def close(self) -> None:
        """Free the engine, if one was opened."""
        if self._engine is not None:
            self._engine.close()

    def _following(self, waiting: Iterator[tuple[str, Generator[Any, Any, Any]]]) -> _Open | None:
        """The search that is to be worked on next: one that has not begun, else the one that waits longest."""
        new = next(waiting, None)
        if new is not None:
            return _Open(*new)
        return self._paused.popleft() if self._paused else None

    def _advance(self, opened: _Open, answer: Any) -> None:
        """Send an answer and go on as far as the journal answers what is asked next."""
        while True:
            try:
                if opened.error is not None:
                    error, opened.error = opened.error, None
                    asked = opened.search.throw(RequestFailed(error))
                else:
                    asked = opened.search.send(answer)
            except StopIteration as end:
                self._finish(opened, SearchResult(end.value))
                return
            except RequestFailed as failure:
                log.warning(f"{opened.name}: failed: {failure}")
                self._finish(opened, SearchResult(error=str(failure)))
                return
            if asked is AFTER_OTHERS:
                self._n_open -= 1
                self._paused.append(opened)
                return
            opened.single = isinstance(asked, Request)
            requests = [asked] if opened.single else list(asked)
            opened.answers = [self._replay(request) for request in requests]
            for place, request in enumerate(requests):
                if opened.answers[place] is None:
                    self._wait(request, opened, place)
            if None in opened.answers:
                return
            answer = _answer(opened)

    def _finish(self, opened: _Open, outcome: SearchResult) -> None:
        self._n_open -= 1
        self.ended_searches += 1
        self._ended(opened.name, outcome)

    def _replay(self, request: Request) -> Rollouts | None:
        """The rollouts that the journal has for a request; None where it has none or they must be graded again."""
        if request.key in self._waiters or request.key in self._to_regrade:
            return None
        entry = self._journal.get(request.key)
        if entry is None:
            return None
        self.replayed_requests += 1
        self.replayed_completions += len(entry.completions)
        parsed = [parse(c.text, c.finish_reason, len(request.prefix)) for c in entry.completions]
        stale = any(
            solution.status == Status.OK and (verdict == "undecided" or method == "parse")
            for solution, (verdict, method) in zip(parsed, entry.verdicts, strict=True)
        )
        if stale or entry.grading != self._grading:
            self._to_regrade[request.key] = Finished(request.key, entry.completions)
            return None
        return tuple(rollout_of(*parts) for parts in zip(entry.completions, parsed, entry.verdicts, strict=True))

    def _wait(self, request: Request, opened: _Open, place: int) -> None:
        """Note who waits for a request, and submit it unless it is on its way."""
        if request.key in self._waiters:
            self._waiters[request.key][1].append((opened, place))
            return
        self._waiters[request.key] = (request, [(opened, place)])
        if request.key in self._to_regrade:
            return
        if self._engine is None:
            started = time.monotonic()
            self._engine = self._open_engine()
            self.startup_seconds = time.monotonic() - started
        self._engine.submit(request)

    def _step(self) -> None:
        """Let the engine work, begin to grade what finished, and record and hand out what is graded."""
        finished = list(self._to_regrade.values())
        self._to_regrade.clear()
        busy = self._engine if self._engine is not None and self._engine.pending else None
        if busy is not None:
            finished += busy.step()
        elif not finished and not self._in_grading:
            raise RuntimeError(f"the engine lost {len(self._waiters)} requests: searches wait, and it has none pending")
        for one in finished:
            request, _ = self._waiters[one.key]
            error = _error(request, one)
            if error is None:
                self._in_grading.append(self._begin(request, one))
            else:
                self._hand_out(one.key, (), error)
        if self._in_grading:
            self._grader.wait(0.0 if busy is not None or finished else _PATIENCE)
            waiting, self._in_grading = self._in_grading, []
            for graded in waiting:
                if graded.grading is None or graded.grading.done:
                    self._hand_out(graded.finished.key, self._conclude(graded), None)
                else:
                    self._in_grading.append(graded)

    def _begin(self, request: Request, one: Finished) -> _InGrading:
        solutions = [parse(c.text, c.finish_reason, len(request.prefix)) for c in one.completions]
        items = [(solution.answer, request.problem) for solution in solutions if solution.status == Status.OK]
        return _InGrading(one, solutions, self._grader.start(items) if items else None)

    def _conclude(self, graded: _InGrading) -> Rollouts:
        """The rollouts of a request whose verdicts are there; when this returns the journal has them."""
        given = iter(graded.grading.verdicts if graded.grading is not None else [])
        verdicts = []
        for solution in graded.solutions:
            if solution.status == Status.OK:
                verdict = next(given)
                verdicts.append((str(verdict.verdict), verdict.method))
            else:
                verdicts.append(("unparsed", "parse"))
        completions = graded.finished.completions
        problem_id = self._waiters[graded.finished.key][0].problem.problem_id
        self._record(graded.finished.key, Entry(completions, tuple(verdicts), self._grading, problem_id))
        return tuple(rollout_of(*parts) for parts in zip(completions, graded.solutions, verdicts, strict=True))

    def _hand_out(self, key: str, rollouts: Rollouts, error: str | None) -> None:
        """Answer all who wait for a request; with an error, their next step is to fail."""
        for opened, place in self._waiters.pop(key)[1]:
            opened.answers[place] = rollouts
            opened.error = opened.error or error
            if None not in opened.answers:
                self._advance(opened, _answer(opened))

    def _record(self, key: str, entry: Entry) -> None:
        known = self._journal.get(key)
        if known is None:
            self.sampled_completions += len(entry.completions)
            self.sampled_tokens += sum(completion.n_tokens for completion in entry.completions)
        if known != entry:
            self._journal.append(key, entry)


def _answer(opened: _Open) -> Any:
    return opened.answers[0] if opened.single else list(opened.answers)


def _error(request: Request, finished: Finished) -> str | None:
    if finished.error is not None:
        return finished.error
    if len(finished.completions) != request.n:
        return f"the engine returned {len(finished.completions)} completions of {request.n}"
    return None


def rollout_of(completion: Completion, parsed: Parsed, verdict: tuple[str, str]) -> Rollout:
    """A completion as it was read and graded; (verdict, method) counts only where it parsed."""
    return Rollout(
        text=completion.text,
        steps=parsed.steps,
        answer=parsed.answer,
        status=str(parsed.status),
        verdict=verdict[0] if parsed.status == Status.OK else "unparsed",
        method=verdict[1] if parsed.status == Status.OK else "parse",
        n_tokens=completion.n_tokens,
        finish_reason=completion.finish_reason,
    )
