"""Samples solutions of problems in shards: seed rollouts and benchmark candidates. In: problems, policy. Out: tables.

Also what annotation shares with them: which problems a shard owns, how a request is made, and `drive`, which runs
searches over engine, grader and journal. A table depends neither on shards nor on the order of work (defect 10).
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmprm import tables
from mmprm.annotation.journal import Journal
from mmprm.annotation.progress import Progress, say
from mmprm.annotation.scheduler import Outcome, Rollouts, Scheduler
from mmprm.config import Config
from mmprm.engine.base import Engine, Request, Sampling, request_key, request_seed
from mmprm.errors import UserError
from mmprm.problem import Problem, read_problems
from mmprm.solution import Status

OpenEngine = Callable[[], Engine]

# With more failed problems than these the stage stops: then the engine or the judge is broken, not the problems. What
# was sampled is in the journal, and the next run goes on from there.
_MAX_FAILED_SHARE, _MAX_FAILED = 0.5, 10
_MAX_UNANSWERED_SHARE = 0.05  # of what a judge was asked: what stays undecided in a table is never asked again


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count` of a stage's problems."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise UserError(f"shard {self}: the index must be at least 0 and below the count")

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`0-of-4`; UserError where it is written otherwise."""
        match = re.fullmatch(r"(\d+)-of-(\d+)", text)
        if match is None:
            raise UserError(f"{text!r} is not a shard; write it as 0-of-4 (index-of-count)")
        return cls(int(match[1]), int(match[2]))

    def owns(self, problem_id: str) -> bool:
        """Does the problem belong to this shard? By a stable hash of its id."""
        digest = hashlib.sha256(problem_id.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index


@dataclass(frozen=True)
class Asker:
    """Makes requests of one stage: `purpose` keeps its draws apart from those of other stages."""

    policy: str
    sampling: Sampling
    run_seed: int
    purpose: str

    @classmethod
    def of(cls, config: Config, policy: Path, purpose: str) -> Asker:
        """For a run's configuration and policy folder."""
        from mmprm.models import fingerprint

        name = f"{fingerprint(policy)}\x1e{config.prompt.instruction}"
        return cls(name, Sampling(**config.sampling.model_dump()), config.seed, purpose)

    def __call__(self, problem: Problem, prefix: tuple[str, ...], n: int) -> Request:
        """A request for n continuations of the prefix."""
        seed = request_seed(self.run_seed, problem, prefix, self.purpose)
        key = request_key(self.policy, problem, prefix, n, self.sampling, seed)
        return Request(key, problem, prefix, n, self.sampling, seed)


def read_shard(paths: Sequence[Path], shard: Shard) -> list[Problem]:
    """The shard's problems, by id; UserError where an id occurs twice in all of the tables."""
    problems = read_problems(*paths)
    twice = [name for name, times in Counter(problem.problem_id for problem in problems).items() if times > 1]
    if twice:
        raise UserError(
            f"{len(twice)} problem ids occur twice in {', '.join(map(str, paths))}, first {sorted(twice)[0]!r}; "
            "ids must differ over all sources of a stage: rename them in the source"
        )
    return sorted((p for p in problems if shard.owns(p.problem_id)), key=lambda problem: problem.problem_id)


def drive(
    config: Config,
    policy: Path,
    searches: Sequence[tuple[str, Generator[Any, Any, Any]]],
    label: str,
    shard: Shard,
    work: Path,
    usage: Path,
    most_rollouts: int,
    why_failed: Callable[[Any], str | None],
    open_engine: OpenEngine | None = None,
) -> dict[str, Outcome]:
    """Run searches (named by problem id) over the run's engine and grader, with the journal in `work`.

    Writes the cost to `usage` (JSON). A search samples at most `most_rollouts`. `why_failed` says of a search's result
    whether it is a failure. The engine is the configured one unless `open_engine` is given. Raises UserError when more
    than half of the problems fail (and more than a few) or the judge is away, so that a broken judge or engine leaves
    no table behind (defect 2).
    """
    from mmprm.grading import Grader

    def configured() -> Engine:
        from mmprm.engine.factory import open_engine as open_configured

        return open_configured(config, policy)

    journal = Journal(work, str(shard))
    if len(journal):
        say(f"{label} {shard}: the journal holds {len(journal)} finished requests")
    progress = Progress(f"{label} {shard}", len(searches), len(searches) * most_rollouts)
    with Grader.of(config.grading) as grader:
        scheduler = Scheduler(
            open_engine or configured, grader, journal, grader.version, config.engine.open_problems, progress
        )
        try:
            outcomes = scheduler.run(searches)
            journal.compact()
        finally:
            progress.close()
            journal.close()
            scheduler.close()
    reasons = {name: outcome.error or why_failed(outcome.value) for name, outcome in outcomes.items()}
    failed = {name: reason for name, reason in reasons.items() if reason is not None}
    stats = scheduler.stats
    seconds = {"seconds": round(progress.seconds, 3), "startup_seconds": round(scheduler.startup_seconds, 3)}
    cost = {**seconds, **vars(stats), "failed": len(failed)}
    judge = grader.judge
    if judge is not None:
        cost |= {"judge": {"asked": judge.asked, "unanswered": judge.unanswered}}
        say(f"{label} {shard}: the judge was asked {judge.asked} questions and left {judge.unanswered} unanswered")
    tables.write_json(usage, cost | {"replayed_completions": scheduler.replayed_completions})
    say(
        f"{label} {shard}: {len(searches)} problems ({len(failed)} failed) in {progress.seconds:.1f} s; sampled "
        f"{stats.completions} completions, {stats.generated_tokens} tokens; replayed {scheduler.replayed_requests} "
        f"requests ({scheduler.replayed_completions} completions) from the journal"
    )
    if len(failed) > max(_MAX_FAILED_SHARE * len(searches), _MAX_FAILED):
        name, reason = next(iter(failed.items()))
        raise UserError(
            f"{label} {shard}: {len(failed)} of {len(searches)} problems failed; first {name}: {reason}; "
            "mend the cause and run again: what was sampled is kept"
        )
    if judge is not None and judge.unanswered > _MAX_UNANSWERED_SHARE * judge.asked:
        raise UserError(
            f"{label} {shard}: grading.judge {judge.identity} left {judge.unanswered} of {judge.asked} questions "
            "unanswered; mend it and run again: what was sampled and what it answered is kept"
        )
    return outcomes


def one_request(request: Request) -> Generator[Request, Rollouts, Rollouts]:
    """The search that asks once."""
    return (yield request)


def sample_seeds(
    config: Config,
    policy: Path,
    problems: list[Path],
    shard: Shard,
    work: Path,
    out: Path,
    open_engine: OpenEngine | None = None,
) -> None:
    """`config.seeds.rollouts` graded rollouts of each of the shard's problems, as tables.SEED_ROLLOUTS."""
    asker = Asker.of(config, policy, "seeds")
    rows = _sample(config, policy, problems, config.seeds.rollouts, asker, "attempt", shard, work, out, open_engine)
    tables.write(out, rows, tables.SEED_ROLLOUTS)


def sample_candidates(
    config: Config,
    benchmark: str,
    policy: Path,
    problems: Path,
    shard: Shard,
    work: Path,
    out: Path,
    open_engine: OpenEngine | None = None,
) -> None:
    """`config.bench.n` graded candidates of each of the shard's problems, as tables.CANDIDATES."""
    asker = Asker.of(config, policy, f"candidates/{benchmark}")
    rows = _sample(config, policy, [problems], config.bench.n, asker, "candidate", shard, work, out, open_engine)
    tables.write(out, rows, tables.CANDIDATES)


def gather_candidates(shards: list[Path], out: Path) -> None:
    """One table of all shards, by problem id and candidate."""
    table = pa.concat_tables([tables.read(path, tables.CANDIDATES) for path in shards])
    rows = table.sort_by([("problem_id", "ascending"), ("candidate", "ascending")]).to_pylist()
    twice = [key for key, times in Counter((r["problem_id"], r["candidate"]) for r in rows).items() if times > 1]
    if twice:
        raise UserError(f"candidate {twice[0]} is in two of the shards {', '.join(map(str, shards))}; give each once")
    tables.write(out, rows, tables.CANDIDATES)


def _sample(
    config: Config,
    policy: Path,
    paths: list[Path],
    n: int,
    asker: Asker,
    column: str,
    shard: Shard,
    work: Path,
    out: Path,
    open_engine: OpenEngine | None,
) -> list[dict[str, Any]]:
    """n rows a problem. Those of a failed problem are empty and have the finish reason `error`: none is left out."""
    problems = read_shard(paths, shard)
    searches = [(problem.problem_id, one_request(asker(problem, (), n))) for problem in problems]
    usage = out.with_name(out.name + ".usage.json")
    outcomes = drive(config, policy, searches, asker.purpose, shard, work, usage, n, _why_failed, open_engine)
    rows = []
    for name, outcome in outcomes.items():
        for number in range(n):
            completion = _NOTHING if outcome.value is None else outcome.value[number].row()
            rows.append({"problem_id": name, column: number, **completion})
    return rows


def _why_failed(rollouts: Rollouts) -> str | None:
    verdicts = {rollout.verdict for rollout in rollouts if rollout.status == Status.OK}
    return "no rollout has a verdict: all are undecided" if verdicts == {"undecided"} else None


_NOTHING: dict[str, Any] = {
    "text": "",
    "steps": [],
    "answer": None,
    "status": "empty",
    "verdict": "unparsed",
    "method": "engine",
    "n_tokens": 0,
    "finish_reason": "error",
}
