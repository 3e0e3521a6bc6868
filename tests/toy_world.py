"""Helpers of the tests that sample with a scripted engine: configuration, policy folder, grader, drivers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from scripted_engine import Policy, ScriptedEngine

from mmprm import config
from mmprm.annotation.omegaprm import Ask, omegaprm
from mmprm.annotation.tree import Tree
from mmprm.config import Sampling
from mmprm.data.problem import Problem
from mmprm.engine.base import Completion, Finished, Request, request_key, request_seed
from mmprm.model.step_text import parse
from mmprm.rollouts.journal import Journal
from mmprm.rollouts.rollout import Rollout, rollout_of
from mmprm.rollouts.scheduler import Scheduler

VERSION = "exact-1"


def toy_config(**sections: Any) -> config.Config:
    """A small run over toy problems; `sections` replaces whole sections."""
    return config.load(
        {
            "run": "toy",
            "sources": {
                "toy": {"kind": "table", "path": "toy.parquet"},
                "held_out": {"kind": "table", "path": "held_out.parquet"},
            },
            "policy": {"base": "base", "sources": ["toy"]},
            "seeds": {"sources": ["toy"], "rollouts": 8},
            "benchmarks": {"toy": {"source": "held_out"}},
            "annotation": {"k": 6, "max_searches": 20, "max_rollouts": 120},
            "bench": {"n": 5},
        }
        | sections
    )


def policy_folder(folder: Path, content: str = "{}") -> Path:
    """A folder that has a fingerprint."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(content)
    return folder


@dataclass(frozen=True)
class Graded:
    verdict: str
    method: str = "exact"


@dataclass(frozen=True)
class Grading:
    verdicts: list[Graded]
    done: bool = True


class ExactGrader:
    """Equal texts are correct. Answers in `undecided` get no verdict."""

    def __init__(self, undecided: Sequence[str] = (), everything_undecided: bool = False) -> None:
        self.undecided = set(undecided)
        self.everything_undecided = everything_undecided
        self.graded = 0

    def __enter__(self) -> ExactGrader:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self, items: Sequence[tuple[str | None, Problem]]) -> Grading:
        self.graded += len(items)
        return Grading([Graded(self.verdict(answer, problem)) for answer, problem in items])

    def wait(self, seconds: float) -> None:
        pass

    def verdict(self, answer: str | None, problem: Problem) -> str:
        if self.everything_undecided or answer in self.undecided:
            return "undecided"
        return "correct" if answer == problem.answer else "incorrect"


def ask(problem: Problem, prefix: tuple[str, ...], n: int) -> Request:
    """A request with fixed sampling."""
    seed = request_seed(0, problem, prefix, "test")
    return Request(request_key("toy", problem, prefix, n, Sampling(), seed), problem, prefix, n, Sampling(), seed)


def make_rollouts(request: Request, texts: Sequence[str], grader: ExactGrader) -> tuple[Rollout, ...]:
    """Parse and grade texts as the scheduler would."""
    rollouts = []
    for completion in completions(*texts):
        solution = parse(completion.text, completion.finish_reason, len(request.prefix))
        rollouts.append(rollout_of(completion, solution, (grader.verdict(solution.answer, request.problem), "exact")))
    return tuple(rollouts)


def grow(
    problem: Problem, settings: config.Annotation, policy: Policy, grader: ExactGrader | None = None, asker: Ask = ask
) -> tuple[Tree, list[Request]]:
    """Run one search by hand, without a scheduler; the tree and the requests in their order."""
    engine = ScriptedEngine(policy)
    grader = grader or ExactGrader()
    requests: list[Request] = []
    search = omegaprm(problem, settings, asker)
    answer: Any = None
    while True:
        try:
            request = search.send(answer)
        except StopIteration as end:
            return end.value, requests
        requests.append(request)
        engine.submit(request)
        answer = make_rollouts(request, [c.text for c in engine.step()[0].completions], grader)


def run_scheduler(
    searches: Any,
    engine: ScriptedEngine,
    folder: Path,
    grader: ExactGrader | None = None,
    grading: str = VERSION,
    open_limit: int = 64,
) -> tuple[Any, Scheduler]:
    """Outcomes of searches over an engine with the journal in `folder`, by name; and the scheduler for its counters."""
    journal = Journal(folder, "test")
    scheduler = Scheduler(lambda: engine, grader or ExactGrader(), journal, grading, open_limit)
    outcomes: dict[str, Any] = {}
    try:
        scheduler.run(searches, outcomes.__setitem__)
        return dict(sorted(outcomes.items())), scheduler
    finally:
        journal.close()


def completions(*texts: str) -> tuple[Completion, ...]:
    return tuple(Completion(text, len(text.split()), "stop") for text in texts)


def rows(*paths: Path) -> list[dict[str, Any]]:
    """All rows of some tables, in a fixed order."""
    everything = [row for path in paths for row in pq.read_table(path).to_pylist()]
    places = ("problem_id", "node_id", "rollout", "attempt", "candidate")
    return sorted(everything, key=lambda row: [row.get(place, 0) for place in places])


class SlowEngine(ScriptedEngine):
    """Takes its time, so that a kill can hit any moment; notes what it has sampled in a file."""

    def __init__(self, policy: Policy, log: Path, seed: int, at_once: int) -> None:
        super().__init__(policy, shuffle=seed, at_once=at_once)
        self._log = log

    def step(self) -> list[Finished]:
        finished = super().step()
        with self._log.open("a") as file:
            file.writelines(f"{one.key}\n" for one in finished)
        time.sleep(0.002)
        return finished
