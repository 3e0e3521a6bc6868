"""Run many searches over one engine, so that its batch stays full and no slow search delays another (defect 9).

A search is a generator that yields a Request (and is sent its rollouts), a list of Requests (and is sent the list of
their rollouts), or AFTER_OTHERS (and is sent None) to continue after all searches that have not begun. A finished
request is graded, appended to the journal, and only then used; the engine continues while answers are compared.
Requests that the journal holds are answered from it; the engine is opened at the first one that it does not hold.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mmprm.engine.base import Engine, EngineStats, Finished, Request
from mmprm.model.step_text import Parsed, Status, parse
from mmprm.rollouts.journal import Entry, Journal
from mmprm.rollouts.rollout import ProblemSkipped, RequestFailed, Rollouts, rollout_of
from mmprm.runtime.log import log

if TYPE_CHECKING:
    from mmprm.data.problem import Problem
    from mmprm.grading import Grader
    from mmprm.grading.grader import PendingVerdicts

AFTER_OTHERS = "after others"
_GRADING_WAIT = 0.5  # seconds to wait for a comparison when there is nothing else to do

NamedSearch = tuple[str, Generator[Any, Any, Any]]


@dataclass(frozen=True)
class SearchResult:
    """What a search returned, or the error that ended it. `skipped`: the policy could not be shown its problem."""

    value: Any = None
    error: str | None = None
    skipped: bool = False


@dataclass(frozen=True)
class _InGrading:
    """A finished request that waits for its verdicts; `grading` is None if no answer was parsed."""

    finished: Finished
    solutions: list[Parsed]
    grading: PendingVerdicts | None


@dataclass
class _OpenSearch:
    """A search that waits for answers."""

    name: str
    search: Generator[Any, Any, Any]
    single: bool = True  # it yielded a Request, not a list
    answers: list[Rollouts | None] = field(default_factory=list)
    error: RequestFailed | None = None
    skipped: bool = False

    @property
    def answer(self) -> Any:
        return self.answers[0] if self.single else list(self.answers)


class Scheduler:
    """See the module. grading: the version of the grader's rules; report: is called often, for a progress line.

    unreadable: says of a problem why the policy cannot be shown it; such a request is thrown back (ProblemSkipped).
    """

    def __init__(
        self,
        open_engine: Callable[[], Engine],
        grader: Grader,
        journal: Journal,
        grading: str,
        open_limit: int,
        report: Callable[[Scheduler], None] = lambda scheduler: None,
        unreadable: Callable[[Problem], str | None] = lambda problem: None,
    ) -> None:
        self.ended_searches = self.replayed_requests = self.replayed_completions = 0
        self.sampled_completions = self.sampled_tokens = 0
        self.startup_seconds = 0.0
        self._open_engine, self._open_limit, self._report = open_engine, open_limit, report
        self._unreadable = unreadable
        self._grader, self._journal, self._grading = grader, journal, grading
        self._engine: Engine | None = None
        self._waiters: dict[str, tuple[Request, list[tuple[_OpenSearch, int]]]] = {}
        self._to_regrade: dict[str, Finished] = {}
        self._in_grading: list[_InGrading] = []
        self._paused: deque[_OpenSearch] = deque()
        self._ended: Callable[[str, SearchResult], None] = lambda name, result: None
        self._n_open = 0

    @property
    def stats(self) -> EngineStats:
        """The engine's totals; all zero where no engine was needed."""
        return self._engine.stats if self._engine is not None else EngineStats()

    def run(self, searches: Iterable[NamedSearch], ended: Callable[[str, SearchResult], None]) -> None:
        """Run named searches to their ends, at most `open_limit` at a time.

        `ended` is given each result as it comes, in any order; none is kept here.
        """
        waiting = iter(searches)
        self._ended = ended
        while True:
            while self._n_open < self._open_limit:
                new = next(waiting, None)
                if new is None and not self._paused:
                    break
                self._n_open += 1
                self._advance(_OpenSearch(*new) if new else self._paused.popleft(), None)
            if not self._n_open:
                return
            self._step()
            self._report(self)

    def close(self) -> None:
        """Free the engine, if one was opened."""
        if self._engine is not None:
            self._engine.close()

    def _advance(self, opened: _OpenSearch, answer: Any) -> None:
        """Send an answer and continue as long as the journal answers the next requests."""
        while True:
            try:
                if opened.error is not None:
                    error, opened.error = opened.error, None
                    asked = opened.search.throw(error)
                else:
                    asked = opened.search.send(answer)
            except StopIteration as end:
                self._finish(opened, SearchResult(end.value, skipped=opened.skipped))
                return
            except ProblemSkipped as why:
                self._finish(opened, SearchResult(error=str(why), skipped=True))
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
            reason = self._unreadable(requests[0].problem) if requests and None in opened.answers else None
            if reason is not None:
                opened.error, opened.skipped = ProblemSkipped(reason), True
                continue
            for index, request in enumerate(requests):
                if opened.answers[index] is None:
                    self._wait(request, opened, index)
            if None in opened.answers:
                return
            answer = opened.answer

    def _finish(self, opened: _OpenSearch, result: SearchResult) -> None:
        self._n_open -= 1
        self.ended_searches += 1
        self._ended(opened.name, result)

    def _replay(self, request: Request) -> Rollouts | None:
        """Return the journal's rollouts of a request; None where it has none or they must be graded again."""
        if request.key in self._waiters or request.key in self._to_regrade:
            return None
        entry = self._journal.get(request.key)
        if entry is None:
            return None
        self.replayed_requests += 1
        self.replayed_completions += len(entry.completions)
        solutions = _parse(request, entry)
        stale = any(
            solution.status == Status.OK and (verdict == "undecided" or method == "parse")
            for solution, (verdict, method) in zip(solutions, entry.verdicts, strict=True)
        )
        if stale or entry.grading != self._grading:
            self._to_regrade[request.key] = Finished(request.key, entry.completions)
            return None
        return _rollouts(entry, solutions)

    def _wait(self, request: Request, opened: _OpenSearch, index: int) -> None:
        """Note which search waits for a request, and submit the request unless it already has been."""
        if request.key in self._waiters:
            self._waiters[request.key][1].append((opened, index))
            return
        self._waiters[request.key] = (request, [(opened, index)])
        if request.key in self._to_regrade:
            return
        if self._engine is None:
            started = time.monotonic()
            self._engine = self._open_engine()
            self.startup_seconds = time.monotonic() - started
        self._engine.submit(request)

    def _step(self) -> None:
        """Step the engine, start to grade what finished, and record and hand out what is graded."""
        arrived = list(self._to_regrade.values())
        self._to_regrade.clear()
        busy = self._engine if self._engine is not None and self._engine.pending else None
        if busy is not None:
            arrived += busy.step()
        elif not arrived and not self._in_grading:
            raise RuntimeError(f"the engine lost {len(self._waiters)} requests: searches wait, and it has none pending")
        for finished in arrived:
            request, _ = self._waiters[finished.key]
            error = finished.error
            if error is None and len(finished.completions) != request.n:
                error = f"the engine returned {len(finished.completions)} completions of {request.n}"
            if error is not None:
                self._hand_out(finished.key, (), error)
                continue
            solutions = _parse(request, finished)
            items = [(solution.answer, request.problem) for solution in solutions if solution.status == Status.OK]
            self._in_grading.append(_InGrading(finished, solutions, self._grader.start(items) if items else None))
        if self._in_grading:
            self._grader.wait(0.0 if busy is not None or arrived else _GRADING_WAIT)
            waiting, self._in_grading = self._in_grading, []
            for graded in waiting:
                if graded.grading is None or graded.grading.done:
                    self._hand_out(graded.finished.key, self._record(graded), None)
                else:
                    self._in_grading.append(graded)

    def _record(self, graded: _InGrading) -> Rollouts:
        """Write a graded request to the journal and return its rollouts."""
        verdicts = iter(graded.grading.verdicts if graded.grading is not None else [])
        pairs = []
        for solution in graded.solutions:
            verdict = next(verdicts) if solution.status == Status.OK else None
            pairs.append((str(verdict.verdict), verdict.method) if verdict else ("unparsed", "parse"))
        key, completions = graded.finished.key, graded.finished.completions
        entry = Entry(completions, tuple(pairs), self._grading, self._waiters[key][0].problem.problem_id)
        known = self._journal.get(key)
        if known is None:
            self.sampled_completions += len(completions)
            self.sampled_tokens += sum(completion.n_tokens for completion in completions)
        if known != entry:
            self._journal.append(key, entry)
        return _rollouts(entry, graded.solutions)

    def _hand_out(self, key: str, rollouts: Rollouts, error: str | None) -> None:
        """Answer all searches that wait for a request; with an error, it is thrown into them."""
        for opened, index in self._waiters.pop(key)[1]:
            opened.answers[index] = rollouts
            opened.error = opened.error or (RequestFailed(error) if error is not None else None)
            if None not in opened.answers:
                self._advance(opened, opened.answer)


def _parse(request: Request, result: Entry | Finished) -> list[Parsed]:
    return [parse(c.text, c.finish_reason, len(request.prefix)) for c in result.completions]


def _rollouts(entry: Entry, solutions: list[Parsed]) -> Rollouts:
    return tuple(rollout_of(*parts) for parts in zip(entry.completions, solutions, entry.verdicts, strict=True))
