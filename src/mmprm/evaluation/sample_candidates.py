"""Sample and grade N candidate solutions of benchmark problems. In: problems, policy. Out: schemas.CANDIDATES."""

from collections.abc import Generator
from operator import itemgetter
from pathlib import Path

import pyarrow as pa

from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.data.shards import Shard, read_shard
from mmprm.data.sorted_spill import SortedSpill
from mmprm.engine.base import Request
from mmprm.evaluation.candidates import all_skipped, was_skipped
from mmprm.model.step_text import Status
from mmprm.rollouts.rollout import RequestFactory, Rollouts
from mmprm.rollouts.run import ALL_UNDECIDED, OpenEngine, SamplingJob, run_searches
from mmprm.rollouts.scheduler import SearchResult
from mmprm.runtime.errors import UserError


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
    """Write `config.bench.n` graded candidates of each of the shard's problems to `out`, and the cost beside it.

    Those of a failed problem are empty rows with the finish reason `error`: no problem is left out. Where the policy
    reads text alone, those of a problem with images have the finish reason `needs_images`, and are not counted. Raises
    UserError as `run_searches` does.
    """
    n = config.bench.n
    factory = RequestFactory.of(config, policy, f"candidates/{benchmark}")
    job = SamplingJob(factory.purpose, config, policy, shard, work, tables.usage_path(out), n, open_engine)
    with SortedSpill(out.parent, schemas.CANDIDATES) as spill:

        def ended(name: str, result: SearchResult) -> str | None:
            rollouts: Rollouts = result.value or ()
            missing = schemas.SKIPPED if result.skipped else schemas.NO_COMPLETION
            rows = [rollout.row() for rollout in rollouts] or [missing] * n
            spill.add(name, [{"problem_id": name, "candidate": number, **row} for number, row in enumerate(rows)])
            verdicts = {rollout.verdict for rollout in rollouts if rollout.status == Status.OK}
            return result.error or (ALL_UNDECIDED if verdicts == {"undecided"} else None)

        searches = [
            (problem.problem_id, _single_request(factory(problem, (), n))) for problem in read_shard([problems], shard)
        ]
        run_searches(job, searches, ended)
        tables.write(out, spill.rows(), schemas.CANDIDATES)


def _single_request(request: Request) -> Generator[Request, Rollouts, Rollouts]:
    return (yield request)


def gather_candidates(shards: list[Path], out: Path) -> None:
    """Write one table of all shards, by problem id and candidate.

    Raises UserError for a candidate in two shards, and if every problem has images that the policy does not read.
    """
    table = pa.concat_tables([tables.read(path, schemas.CANDIDATES) for path in shards])
    rows = table.sort_by([("problem_id", "ascending"), ("candidate", "ascending")]).to_pylist()
    key = itemgetter("problem_id", "candidate")
    if rows and all(map(was_skipped, rows)):
        raise UserError(f"{out}: {all_skipped(len({row['problem_id'] for row in rows}))}")
    tables.write(out, tables.unique(rows, "candidate", shards, "give each shard once", key), schemas.CANDIDATES)
