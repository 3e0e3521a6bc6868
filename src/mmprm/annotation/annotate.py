"""Annotate a shard: one OmegaPRM search for each seed problem. In: seeds, policy. Out: nodes, rollouts, status."""

from collections.abc import Sequence
from pathlib import Path

from mmprm.annotation.omegaprm import Search, omegaprm
from mmprm.annotation.tree import Tree
from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem
from mmprm.data.shards import Shard, read_shard
from mmprm.data.sorted_spill import SortedSpill
from mmprm.rollouts.rollout import RequestFactory
from mmprm.rollouts.run import OpenEngine, SamplingJob, run_searches
from mmprm.rollouts.scheduler import SearchResult
from mmprm.runtime.errors import UserError


def annotate(
    config: Config,
    policy: Path,
    seeds: Path,
    shard: Shard,
    work: Path,
    out: Path,
    open_engine: OpenEngine | None = None,
) -> None:
    """Write nodes.parquet, rollouts.parquet, status.parquet (a row for every problem) and usage.json into `out`.

    Journals are in `work`, which all shards may share: what one of them has sampled, under any shard layout and any
    budget, is not sampled again. The tree of a failed search keeps its nodes. A finished tree leaves memory at once.
    """
    searches = named_searches(config, policy, read_shard([seeds], shard))
    most = config.annotation.max_rollouts
    job = SamplingJob("annotation", config, policy, shard, work, out / "usage.json", most, open_engine)
    with (
        SortedSpill(out, schemas.NODES) as nodes,
        SortedSpill(out, schemas.ROLLOUTS) as rollouts,
        SortedSpill(out, schemas.STATUS) as status,
    ):

        def keep(name: str, outcome: SearchResult) -> str | None:
            tree: Tree = outcome.value
            nodes.add(name, tree.node_rows())
            rollouts.add(name, tree.rollout_rows())
            status.add(name, [tree.status_row()])
            return tree.why_failed

        run_searches(job, searches, keep)
        tables.write(out / "nodes.parquet", nodes.rows(), schemas.NODES)
        tables.write(out / "rollouts.parquet", rollouts.rows(), schemas.ROLLOUTS)
        tables.write(out / "status.parquet", status.rows(), schemas.STATUS)


def named_searches(config: Config, policy: Path, problems: Sequence[Problem]) -> list[tuple[str, Search]]:
    """Make the search of each problem, by its id; UserError where the budget of a problem is below k."""
    settings = config.annotation
    if settings.max_rollouts < settings.k:
        raise UserError(
            f"annotation.max_rollouts is {settings.max_rollouts}, below annotation.k = {settings.k}: "
            "not even the question could be probed; raise max_rollouts, or lower k"
        )
    ask = RequestFactory.of(config, policy, "annotation")
    return [(problem.problem_id, omegaprm(problem, settings, ask)) for problem in problems]
