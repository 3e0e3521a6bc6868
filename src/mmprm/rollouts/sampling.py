"""Samples solutions of problems: seed rollouts and benchmark candidates. In: problems, policy. Out: tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem
from mmprm.data.shards import Shard, read_shard
from mmprm.data.sorted_spill import SortedSpill
from mmprm.engine.base import Request
from mmprm.model.step_text import Status
from mmprm.rollouts.run import OpenEngine, RequestFactory, SamplingJob, run_searches
from mmprm.rollouts.scheduler import Rollouts, SearchResult
from mmprm.seeds.seed_search import Blanked, seed_search

_UNDECIDED = "no rollout has a verdict: all are undecided"


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
    blanked: Blanked | None = None,
) -> None:
    """Graded rollouts of each of the shard's problems, as schemas.SEED_ROLLOUTS: `config.seeds.rollouts` of each, or
    with `config.seeds.adaptive` as many as it takes. Of a failed problem those that are missing are empty and have the
    finish reason `error`."""
    settings = config.seeds
    asker = RequestFactory.of(config, policy, "seeds")
    most = settings.rollouts * (2 if blanked else 1)
    job = SamplingJob(asker.purpose, config, policy, shard, work, _usage(out), most, open_engine)
    drawn: Counter[tuple[str, bool]] = Counter()
    undecided: dict[str, bool] = {}  # by problem, of those with a readable answer: has none a verdict?
    with SortedSpill(out.parent, schemas.SEED_ROLLOUTS) as spool:

        def write(name: str, blank: bool, rows: Sequence[dict[str, Any]]) -> None:
            first = drawn[name, blank]
            drawn[name, blank] += len(rows)
            own = {"problem_id": name, "blank": blank}
            spool.add(name, [{**own, "attempt": first + at, **row} for at, row in enumerate(rows)])

        def search(problem: Problem) -> Generator[Any, Any, None]:
            name = problem.problem_id

            def keep(blank: bool, rollouts: Rollouts) -> None:
                write(name, blank, [rollout.row() for rollout in rollouts])
                for rollout in rollouts:
                    if rollout.status == Status.OK:
                        undecided[name] = undecided.get(name, True) and rollout.verdict == "undecided"

            return seed_search(problem, settings, asker, keep, blanked)

        def ended(name: str, outcome: SearchResult) -> str | None:
            if outcome.error is not None:
                blank = drawn[name, False] == settings.rollouts
                write(name, blank, [schemas.NO_COMPLETION] * (settings.rollouts - drawn[name, blank]))
            return outcome.error or (_UNDECIDED if undecided.get(name) else None)

        run_searches(job, [(problem.problem_id, search(problem)) for problem in read_shard(problems, shard)], ended)
        tables.write(out, spool.rows(), schemas.SEED_ROLLOUTS)


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
    """`config.bench.n` graded candidates of each of the shard's problems, as schemas.CANDIDATES."""
    asker = RequestFactory.of(config, policy, f"candidates/{benchmark}")
    job = SamplingJob(asker.purpose, config, policy, shard, work, _usage(out), config.bench.n, open_engine)
    _sample(job, read_shard([problems], shard), asker, out)


def gather_candidates(shards: list[Path], out: Path) -> None:
    """One table of all shards, by problem id and candidate."""
    table = pa.concat_tables([tables.read(path, schemas.CANDIDATES) for path in shards])
    rows = table.sort_by([("problem_id", "ascending"), ("candidate", "ascending")]).to_pylist()
    key = itemgetter("problem_id", "candidate")
    tables.write(out, tables.unique(rows, "candidate", shards, "give each shard once", key), schemas.CANDIDATES)


def _usage(out: Path) -> Path:
    return out.with_name(out.name + ".usage.json")


def _sample(job: SamplingJob, problems: list[Problem], asker: RequestFactory, out: Path) -> None:
    """Write n rows a problem. Those of a failed problem are empty and have the finish reason `error`: none is left
    out."""
    n = job.most_rollouts
    searches = [(problem.problem_id, one_request(asker(problem, (), n))) for problem in problems]
    with SortedSpill(out.parent, schemas.CANDIDATES) as spool:

        def keep(name: str, outcome: SearchResult) -> str | None:
            rollouts: Rollouts | None = outcome.value
            rows = [schemas.NO_COMPLETION] * n if rollouts is None else [rollout.row() for rollout in rollouts]
            spool.add(name, [{"problem_id": name, "candidate": number, **row} for number, row in enumerate(rows)])
            return outcome.error or _why_failed(outcome.value)

        run_searches(job, searches, keep)
        tables.write(out, spool.rows(), schemas.CANDIDATES)


def _why_failed(rollouts: Rollouts) -> str | None:
    verdicts = {rollout.verdict for rollout in rollouts if rollout.status == Status.OK}
    return _UNDECIDED if verdicts == {"undecided"} else None
