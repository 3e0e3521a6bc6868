"""Samples solutions of problems: seed rollouts and benchmark candidates. In: problems, policy. Out: tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pyarrow as pa

from mmprm import tables
from mmprm.annotation.drive import Asker, Job, OpenEngine, drive
from mmprm.annotation.scheduler import Outcome, Rollouts
from mmprm.config import Config
from mmprm.engine.base import Request
from mmprm.errors import UserError
from mmprm.problem import Problem
from mmprm.shard import Shard, read_shard
from mmprm.solution import Status
from mmprm.spool import Spool


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
    job = Job(asker.purpose, config, policy, shard, work, _usage(out), config.seeds.rollouts, open_engine)
    _sample(job, read_shard(problems, shard), asker, "attempt", out, tables.SEED_ROLLOUTS)


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
    job = Job(asker.purpose, config, policy, shard, work, _usage(out), config.bench.n, open_engine)
    _sample(job, read_shard([problems], shard), asker, "candidate", out, tables.CANDIDATES)


def gather_candidates(shards: list[Path], out: Path) -> None:
    """One table of all shards, by problem id and candidate."""
    table = pa.concat_tables([tables.read(path, tables.CANDIDATES) for path in shards])
    rows = table.sort_by([("problem_id", "ascending"), ("candidate", "ascending")]).to_pylist()
    twice = [key for key, times in Counter((r["problem_id"], r["candidate"]) for r in rows).items() if times > 1]
    if twice:
        raise UserError(f"candidate {twice[0]} is in two of the shards {', '.join(map(str, shards))}; give each once")
    tables.write(out, rows, tables.CANDIDATES)


def _usage(out: Path) -> Path:
    return out.with_name(out.name + ".usage.json")


def _sample(job: Job, problems: list[Problem], asker: Asker, column: str, out: Path, schema: pa.Schema) -> None:
    """Write n rows a problem. Those of a failed problem are empty and have the finish reason `error`: none is left
    out."""
    n = job.most_rollouts
    searches = [(problem.problem_id, one_request(asker(problem, (), n))) for problem in problems]
    with Spool(out.parent, schema) as spool:

        def keep(name: str, outcome: Outcome) -> str | None:
            rollouts: Rollouts | None = outcome.value
            rows = [tables.NO_COMPLETION] * n if rollouts is None else [rollout.row() for rollout in rollouts]
            spool.add(name, [{"problem_id": name, column: number, **row} for number, row in enumerate(rows)])
            return outcome.error or _why_failed(outcome.value)

        drive(job, searches, keep)
        tables.write(out, spool.rows(), schema)


def _why_failed(rollouts: Rollouts) -> str | None:
    verdicts = {rollout.verdict for rollout in rollouts if rollout.status == Status.OK}
    return "no rollout has a verdict: all are undecided" if verdicts == {"undecided"} else None
