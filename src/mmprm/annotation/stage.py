"""The annotation stage: one OmegaPRM search for each seed problem of a shard. In: seeds, policy. Out: three tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmprm import tables
from mmprm.annotation.omegaprm import Search, omegaprm
from mmprm.annotation.tree import Tree
from mmprm.config import Config
from mmprm.errors import UserError
from mmprm.problem import Problem
from mmprm.sampling import Asker, OpenEngine, Shard, drive, read_shard


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
    budget, is not sampled again. A tree whose search failed keeps the nodes that it had.
    """
    searches = named_searches(config, policy, read_shard([seeds], shard))
    out.mkdir(parents=True, exist_ok=True)
    usage, most = out / "usage.json", config.annotation.max_rollouts
    outcomes = drive(config, policy, searches, "annotation", shard, work, usage, most, why_failed, open_engine)
    trees: list[Tree] = [outcome.value for outcome in outcomes.values()]  # by problem id
    tables.write(out / "nodes.parquet", [row for tree in trees for row in tree.node_rows()], tables.NODES)
    tables.write(out / "rollouts.parquet", [row for tree in trees for row in tree.rollout_rows()], tables.ROLLOUTS)
    tables.write(out / "status.parquet", [tree.status_row() for tree in trees], tables.STATUS)


def named_searches(config: Config, policy: Path, problems: Sequence[Problem]) -> list[tuple[str, Search]]:
    """The search of each problem, by its id; UserError where the budget of a problem is below k."""
    settings = config.annotation
    if settings.max_rollouts < settings.k:
        raise UserError(
            f"annotation.max_rollouts is {settings.max_rollouts}, below annotation.k = {settings.k}: "
            "not even the question could be probed; raise it, or lower k"
        )
    asker = Asker.of(config, policy, "annotation")
    return [(problem.problem_id, omegaprm(problem, settings, asker)) for problem in problems]


def why_failed(tree: Tree) -> str | None:
    """The reason of a failed search; None for another."""
    return tree.reason if tree.status == "failed" else None
