"""Ways to put the same searches through one engine: the public code's loop, lock-step rounds, and the scheduler.

In: a Task and an engine. Out: the trees. All use the same search (`omegaprm`), requests, seeds and grader, so that they
differ in nothing but what the engine is given, and when. The first two keep no journal, which is to their advantage.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmprm.annotation.omegaprm import Ask, Search, omegaprm
from mmprm.annotation.tree import Tree
from mmprm.config import Annotation
from mmprm.data.problem import Problem
from mmprm.engine.base import Completion, Engine, Finished, Request
from mmprm.grading import VERSION, Graded, Grader, Verdict
from mmprm.model.step_text import Status, parse
from mmprm.rollouts.journal import Journal
from mmprm.rollouts.rollout import Prefix, Rollout, rollout_of
from mmprm.rollouts.scheduler import Scheduler

UNPARSED = Graded(Verdict.UNPARSED, "parse")
Sampled = tuple[Request, Sequence[Completion]]


@dataclass(frozen=True)
class Task:
    """The work of every loop, with at most `open_limit` problems open at a time (one in the sequential loop)."""

    problems: Sequence[Problem]
    settings: Annotation
    ask: Ask
    open_limit: int

    def searches(self, ask: Ask | None = None) -> list[tuple[str, Search]]:
        """Start a search of each problem; return them with the problems' ids."""
        return [(p.problem_id, omegaprm(p, self.settings, ask or self.ask)) for p in self.problems]


def sequential(task: Task, engine: Engine) -> list[Tree]:
    """Run the public code's loop, from its description (defects 9 and 11 of the README): one problem at a time.

    A request waits for the one before; each of its k rollouts is a request with a copy of the prompt; the prefix is
    quoted in the user's turn. The public code also rescores its whole tree for each rollout: that is left out.
    """
    trees = []
    with Grader() as grader:
        for _, search in task.searches():
            try:
                request = next(search)
                while True:
                    request = search.send(_copies(engine, grader, request))
            except StopIteration as end:
                trees.append(end.value)
    return trees


def _copies(engine: Engine, grader: Grader, request: Request) -> tuple[Rollout, ...]:
    problem = quoting(request.problem, request.prefix)
    copies = [
        Request(f"{request.key}/{draw}", problem, (), 1, request.sampling, request.seed + draw)
        for draw in range(request.n)
    ]
    finished = complete(engine, copies)
    drawn = [finished[copy.key].completions[0] for copy in copies]
    return graded(grader, [(request, drawn)])[0]


def lock_step(task: Task, engine: Engine) -> list[Tree]:
    """Work in rounds over as many problems as may be open: each asks once, and all wait for the last answer.

    The next problems begin when the last of these has ended.
    """
    trees = []
    with Grader() as grader:
        searches = [search for _, search in task.searches()]
        for start in range(0, len(searches), task.open_limit):
            trees += _rounds(engine, grader, searches[start : start + task.open_limit])
    return trees


def _rounds(engine: Engine, grader: Grader, searches: Sequence[Search]) -> list[Tree]:
    trees = []
    answers: list[tuple[Search, Any]] = [(search, None) for search in searches]
    while answers:
        asked: list[tuple[Search, Request]] = []
        for search, rollouts in answers:
            try:
                asked.append((search, search.send(rollouts)))
            except StopIteration as end:
                trees.append(end.value)
        finished = complete(engine, list({request.key: request for _, request in asked}.values()))
        given = graded(grader, [(request, finished[request.key].completions) for _, request in asked])
        answers = [(search, rollouts) for (search, _), rollouts in zip(asked, given, strict=True)]
    return trees


def scheduled(task: Task, engine: Engine, asked: dict[str, Request]) -> list[Tree]:
    """Run our scheduler with its journal in a temporary folder; the requests are added to `asked` in their order."""

    def ask(problem: Problem, prefix: Prefix, n: int) -> Request:
        request = task.ask(problem, prefix, n)
        asked[request.key] = request
        return request

    trees: list[Tree] = []
    with tempfile.TemporaryDirectory() as folder, Grader() as grader:
        journal = Journal(Path(folder), "timing")
        try:
            scheduler = Scheduler(lambda: engine, grader, journal, VERSION, task.open_limit)
            scheduler.run(task.searches(ask), lambda name, outcome: trees.append(outcome.value))
        finally:
            journal.close()
    return trees


def complete(engine: Engine, requests: Sequence[Request]) -> dict[str, Finished]:
    """Submit all at once and step until the engine is empty; raise RuntimeError where a request fails."""
    for request in requests:
        engine.submit(request)
    finished: dict[str, Finished] = {}
    while engine.pending:
        finished |= {done.key: done for done in engine.step()}
    failed = [done for done in finished.values() if done.error is not None]
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(requests)} requests failed, the first: {failed[0].error}")
    return finished


def quoting(problem: Problem, prefix: Prefix) -> Problem:
    """Return the problem with the steps so far quoted below its question."""
    if not prefix:
        return problem
    return replace(problem, question="\n".join([problem.question, "Solution so far:", *prefix]))


def graded(grader: Grader, sampled: Sequence[Sampled]) -> list[tuple[Rollout, ...]]:
    """Parse the completions of each request and grade them, all in one call of the grader."""
    parsed = [[parse(c.text, c.finish_reason, len(request.prefix)) for c in drawn] for request, drawn in sampled]
    items = [
        (solution.answer, request.problem)
        for (request, _), solutions in zip(sampled, parsed, strict=True)
        for solution in solutions
        if solution.status == Status.OK
    ]
    verdicts = iter(grader.grade_many(items))
    rollouts = []
    for (_, drawn), solutions in zip(sampled, parsed, strict=True):
        row = []
        for completion, solution in zip(drawn, solutions, strict=True):
            given = next(verdicts) if solution.status == Status.OK else UNPARSED
            row.append(rollout_of(completion, solution, (str(given.verdict), given.method)))
        rollouts.append(tuple(row))
    return rollouts
