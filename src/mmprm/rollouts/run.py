"""Runs the searches of a sampling stage (seeds, candidates, annotation, plan) over engine, grader and journal.

In: named searches. Out: each search's outcome as it ends, and usage.json. Tables depend neither on shards nor on the
order of work (defect 10).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmprm.config import Config, Sampling
from mmprm.data import tables
from mmprm.data.problem import Problem
from mmprm.data.shards import Shard
from mmprm.engine.base import Engine, Request, request_key, request_seed
from mmprm.rollouts.journal import Journal
from mmprm.rollouts.rates import rates
from mmprm.rollouts.scheduler import Scheduler, SearchResult
from mmprm.runtime import locks
from mmprm.runtime.cache import shared
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log
from mmprm.runtime.progress import Progress

if TYPE_CHECKING:
    from mmprm.grading.judge import Judge

OpenEngine = Callable[[], Engine]

# With more failed problems than these the stage stops: then the engine or the judge is broken, not the problems. What
# was sampled is in the journal, and the next run goes on from there.
_MAX_FAILED_SHARE, _MAX_FAILED = 0.5, 10
_MAX_UNANSWERED_SHARE = 0.05  # of what a judge was asked: what stays undecided in a table is never asked again


@dataclass(frozen=True)
class RequestFactory:
    """Makes requests of one stage: `purpose` keeps its draws apart from those of other stages."""

    policy: str
    sampling: Sampling
    run_seed: int
    purpose: str

    @classmethod
    def of(cls, config: Config, policy: Path, purpose: str) -> RequestFactory:
        """For a run's configuration and policy folder."""
        from mmprm.model.folders import fingerprint

        name = f"{fingerprint(policy)}\x1e{config.prompt.instruction}"
        return cls(name, config.sampling, config.seed, purpose)

    def __call__(
        self,
        problem: Problem,
        prefix: tuple[str, ...],
        n: int,
        attempt: int = 0,
        one_step: bool = False,
        first: int = 0,
    ) -> Request:
        """A request for n continuations of the prefix; another attempt draws others.

        first: begin with that draw, counted from 0. Draw i of any engine depends on seed + i alone, so that a request
        in parts draws what it draws as a whole.
        """
        seed = request_seed(self.run_seed, problem, prefix, self.purpose, attempt) + first
        key = request_key(self.policy, problem, prefix, n, self.sampling, seed, one_step)
        return Request(key, problem, prefix, n, self.sampling, seed, one_step)


@dataclass(frozen=True)
class SamplingJob:
    """A shard of a sampling stage: journals in `work`, its cost to `usage` (JSON). A search samples at most
    `most_rollouts`. The engine is the configured one unless `open_engine` is given."""

    label: str
    config: Config
    policy: Path
    shard: Shard
    work: Path
    usage: Path
    most_rollouts: int
    open_engine: OpenEngine | None = None

    def engine(self) -> Engine:
        """Open the engine; it takes seconds to minutes."""
        if self.open_engine is not None:
            return self.open_engine()
        from mmprm.engine.factory import open_engine

        return open_engine(self.config, self.policy)


def run_searches(
    job: SamplingJob,
    searches: Sequence[tuple[str, Generator[Any, Any, Any]]],
    ended: Callable[[str, SearchResult], str | None],
) -> None:
    """Run searches, named by problem id. `ended` takes each outcome as it comes, in any order; it keeps what it needs,
    and returns the reason where the search failed. Where another process runs the same shard, it waits for its end.

    Raises UserError when more than half of the problems fail (and more than a few) or the judge is away, so that a
    broken judge or engine leaves no table behind (defect 2).
    """
    with locks.single_writer(job.work, f"{job.label}-{job.shard}".replace("/", "-")):
        _drive(job, searches, ended)


def _drive(
    job: SamplingJob,
    searches: Sequence[tuple[str, Generator[Any, Any, Any]]],
    ended: Callable[[str, SearchResult], str | None],
) -> None:
    from mmprm.grading import Grader

    failed: dict[str, str] = {}

    def note(name: str, outcome: SearchResult) -> None:
        reason = ended(name, outcome)
        if reason is not None:
            failed[name] = reason

    config, name = job.config, f"{job.label} {job.shard}"
    journal = Journal(_journals(job), str(job.shard))
    if len(journal):
        log.info(f"{name}: the journal holds {len(journal)} finished requests")
    progress = Progress(name, len(searches), "problems")
    most = len(searches) * job.most_rollouts

    def report(at: Scheduler) -> None:
        counts = (at.sampled_completions, at.sampled_tokens, at.replayed_completions)
        progress.update(at.ended_searches, rates(progress.seconds, most, *counts, at.stats))

    with Grader.of(config.grading) as grader, progress:
        scheduler = Scheduler(job.engine, grader, journal, grader.version, config.engine.open_problems, report)
        try:
            scheduler.run(searches, note)
            journal.compact()
        finally:
            journal.close()
            scheduler.close()
    stats = scheduler.stats
    seconds = {"seconds": round(progress.seconds, 3), "startup_seconds": round(scheduler.startup_seconds, 3)}
    cost = {**seconds, **vars(stats), "failed": len(failed)}
    judge = grader.judge
    if judge is not None:
        cost |= {"judge": {"asked": judge.asked, "unanswered": judge.unanswered}}
        log.info(f"{name}: the judge was asked {judge.asked} questions and left {judge.unanswered} unanswered")
    tables.write_json(job.usage, cost | {"replayed_completions": scheduler.replayed_completions})
    log.info(
        f"{name}: {len(searches)} problems ({len(failed)} failed) in {progress.seconds:.1f} s; sampled "
        f"{stats.completions} completions, {stats.generated_tokens} tokens; replayed {scheduler.replayed_requests} "
        f"requests ({scheduler.replayed_completions} completions) from the journal"
    )
    _stop_if_broken(name, len(searches), failed, judge)


def _journals(job: SamplingJob) -> Path:
    """job.work, or with MMPRM_CACHE a folder that other runs with this policy have too: keys are of content alone."""
    from mmprm.model.folders import fingerprint

    cache = shared("journals")
    if cache is None:
        return job.work
    parts = job.work.parts
    below = parts[len(parts) - parts[::-1].index("work") :] if "work" in parts else parts[-1:]
    return cache.joinpath(fingerprint(job.policy), *below)


def _stop_if_broken(name: str, n: int, failed: dict[str, str], judge: Judge | None) -> None:
    if len(failed) > max(_MAX_FAILED_SHARE * n, _MAX_FAILED):
        first = min(failed)
        raise UserError(
            f"{name}: {len(failed)} of {n} problems failed; first {first}: {failed[first]}; "
            "mend the cause and run again: what was sampled is kept"
        )
    if judge is not None and judge.unanswered > _MAX_UNANSWERED_SHARE * judge.asked:
        raise UserError(
            f"{name}: grading.judge {judge.identity} left {judge.unanswered} of {judge.asked} questions "
            "unanswered; mend it and run again: what was sampled and what it answered is kept"
        )
