"""Run the searches of a sampling stage over engine, grader and journal. In: named searches. Out: results, usage.json.

Tables depend neither on shards nor on the order of work (defect 10).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mmprm.config import Config
from mmprm.data import tables
from mmprm.data.problem import Problem
from mmprm.data.shards import Shard
from mmprm.engine.base import Engine, EngineStats
from mmprm.model.step_text import NEEDS_IMAGES
from mmprm.rollouts.journal import Journal
from mmprm.rollouts.scheduler import NamedSearch, Scheduler, SearchResult
from mmprm.runtime import locks
from mmprm.runtime.cache import make_folder, shared
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log
from mmprm.runtime.progress import Progress, duration

if TYPE_CHECKING:
    from mmprm.grading.judge import Judge

OpenEngine = Callable[[], Engine]
Ended = Callable[[str, SearchResult], str | None]

ALL_UNDECIDED = "no rollout has a verdict: all are undecided"  # why a problem counts as failed

# With more failed problems than these the stage stops: then the engine or the judge is broken, not the problems. What
# was sampled is in the journal, and the next run continues from it.
_MAX_FAILED_SHARE, _MAX_FAILED = 0.5, 10
_MAX_UNANSWERED_SHARE = 0.05  # of the judge's questions: what stays undecided in a table is never asked again


@dataclass(frozen=True)
class SamplingJob:
    """A shard of a sampling stage: journals in `work`, its cost to `usage` (JSON)."""

    label: str
    config: Config
    policy: Path
    shard: Shard
    work: Path
    usage: Path
    most_rollouts: int  # of one search
    open_engine: OpenEngine | None = None  # replaces the engine of the configuration

    def engine(self) -> Engine:
        """Open the engine; it takes seconds to minutes."""
        if self.open_engine is not None:
            return self.open_engine()
        from mmprm.engine.factory import open_engine

        return open_engine(self.config, self.policy)

    @cached_property
    def reads_text_alone(self) -> bool:
        """Whether the policy is a language model, which cannot be shown problems with images."""
        from mmprm.model.folders import reads_text_alone

        return reads_text_alone(self.policy)

    @property
    def journals(self) -> Path:
        """`work`, or with MMPRM_CACHE a folder shared with other runs of this policy: keys depend on content alone."""
        from mmprm.model.folders import fingerprint

        cache = shared("journals")
        if cache is None:
            return self.work
        parts = self.work.parts
        below = parts[len(parts) - parts[::-1].index("work") :] if "work" in parts else parts[-1:]
        return make_folder(cache.joinpath(fingerprint(self.policy), *below))


def run_searches(job: SamplingJob, searches: Sequence[NamedSearch], ended: Ended) -> None:
    """Run searches, named by problem id.

    `ended` takes each result, in any order, and returns the reason if the search failed. Waits for the end of another
    process that runs the same shard. Raises UserError if more than half of the problems fail (and more than a few) or
    the judge does not answer, so that a broken judge or engine leaves no table behind (defect 2).
    """
    with locks.single_writer(job.work, f"{job.label}-{job.shard}".replace("/", "-")):
        _run(job, searches, ended)


def _run(job: SamplingJob, searches: Sequence[NamedSearch], ended: Ended) -> None:
    from mmprm.grading import Grader

    failed: dict[str, str] = {}
    skipped = 0

    def note(name: str, result: SearchResult) -> None:
        nonlocal skipped
        reason = ended(name, result)
        if result.skipped:
            skipped += 1
        elif reason is not None:
            failed[name] = reason

    def unreadable(problem: Problem) -> str | None:
        return NEEDS_IMAGES if problem.images and job.reads_text_alone else None

    config, name = job.config, f"{job.label} {job.shard}"
    journal = Journal(job.journals, str(job.shard))
    if len(journal):
        log.info(f"{name}: the journal holds {len(journal)} finished requests")
    progress = Progress(name, len(searches), "problems")

    def report(at: Scheduler) -> None:
        counts = (at.sampled_completions, at.sampled_tokens, at.replayed_completions)
        most = len(searches) * job.most_rollouts
        progress.update(at.ended_searches, rates(progress.seconds, most, *counts, at.stats))

    with Grader.of(config.grading) as grader, progress:
        scheduler = Scheduler(
            job.engine, grader, journal, grader.version, config.engine.open_problems, report, unreadable
        )
        try:
            scheduler.run(searches, note)
            journal.compact()
        finally:
            journal.close()
            scheduler.close()
    stats, judge = scheduler.stats, grader.judge
    seconds = {"seconds": round(progress.seconds, 3), "startup_seconds": round(scheduler.startup_seconds, 3)}
    cost = {**seconds, **vars(stats), "failed": len(failed)}
    if skipped:
        cost |= {"skipped": skipped}
        about = "have images, and the policy reads text alone: they are skipped"
        log.warning(f"{name}: {skipped} of {len(searches)} problems {about} ({NEEDS_IMAGES})")
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


def rates(seconds: float, most_rollouts: int, rollouts: int, tokens: int, replayed: int, stats: EngineStats) -> str:
    """Describe the rates of `rollouts` and `tokens` sampled in `seconds`; those replayed from the journal do not count.

    most_rollouts: the most of all problems together, which bounds the time left. The share of finished problems would
    not: they are worked on side by side.
    """
    seconds = max(seconds, 1e-6)
    parts = [f"{rollouts / seconds:.0f} rollouts/s", f"{tokens / seconds:.0f} tokens/s"]
    if stats.mean_batch is not None:
        parts.append(f"mean batch {stats.mean_batch:.0f}")
    if stats.cached_share is not None:
        parts.append(f"{stats.cached_share:.0%} of prompt tokens cached")
    left = most_rollouts - rollouts - replayed
    if rollouts and left > 0:  # a search that a PRM guides may draw more than its number of solutions
        parts.append(f"at most {duration(left * seconds / rollouts)} left")
    return ", ".join(parts)


def _stop_if_broken(name: str, n: int, failed: dict[str, str], judge: Judge | None) -> None:
    if len(failed) > max(_MAX_FAILED_SHARE * n, _MAX_FAILED):
        first = min(failed)
        raise UserError(
            f"{name}: {len(failed)} of {n} problems failed; first {first}: {failed[first]}; "
            "fix the cause and run again: what was sampled is kept"
        )
    if judge is not None and judge.unanswered > _MAX_UNANSWERED_SHARE * judge.asked:
        raise UserError(
            f"{name}: grading.judge {judge.identity} left {judge.unanswered} of {judge.asked} questions "
            "unanswered; fix it and run again: what was sampled and what it answered is kept"
        )
