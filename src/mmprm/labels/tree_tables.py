"""Trees of all shards, a problem at a time. In: annotation folders. Out: each problem's nodes and rollouts.

A shard's tables hold a problem's rows side by side, the problems of both in the same order. So a shard is never in
memory as a whole, and the rollouts' texts, which are most of an annotation, are not read.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmprm.data import schemas, tables
from mmprm.runtime.errors import UserError

Row = dict[str, Any]
NODE_COLUMNS = ("problem_id", "node_id", "steps", "n_rollouts", "n_correct", "n_unparsed", "n_undecided", "mc")
ROLLOUT_COLUMNS = ("problem_id", "node_id", "steps", "answer", "verdict", "searched")


def trees(shards: Sequence[Path]) -> Iterator[tuple[str, list[Row], list[Row]]]:
    """Yield (problem id, rows of NODE_COLUMNS, rows of ROLLOUT_COLUMNS) of each tree, shard by shard.

    A problem without nodes is left out. Raises UserError where a problem has two trees, or the rollouts' problems have
    another order than the nodes'.
    """
    advice = "delete the stale annotation and run again"
    return tables.unique(_trees(shards), "the tree of problem", shards, advice, key=itemgetter(0))


def _trees(shards: Sequence[Path]) -> Iterator[tuple[str, list[Row], list[Row]]]:
    for shard in shards:
        rollouts = _problems(shard / "rollouts.parquet", schemas.ROLLOUTS, ROLLOUT_COLUMNS)
        following = next(rollouts, None)
        for name, nodes in _problems(shard / "nodes.parquet", schemas.NODES, NODE_COLUMNS):
            drawn: list[Row] = []
            if following is not None and following[0] == name:
                drawn, following = following[1], next(rollouts, None)
            yield name, nodes, drawn
        if following is not None:
            raise UserError(
                f"{shard}: rollouts.parquet has problem {following[0]!r} where nodes.parquet does not; the two are not "
                "of one annotation: delete the folder and run again"
            )


def _problems(path: Path, schema: pa.Schema, columns: Sequence[str]) -> Iterator[tuple[str, list[Row]]]:
    """Yield the rows of each problem, problems in the table's order."""
    rows = (row for part in tables.batches(path, schema, columns) for row in part.to_pylist())
    for name, group in groupby(rows, key=itemgetter("problem_id")):
        yield name, list(group)


def sources_of(seeds: Path) -> dict[str, str]:
    """Read the source of each problem of a problem table, without its images."""
    sources: dict[str, str] = {}
    for part in tables.batches(seeds, schemas.PROBLEMS, ("problem_id", "source"), rows=65536):
        sources.update(zip(part["problem_id"].to_pylist(), part["source"].to_pylist(), strict=True))
    return sources


def check_problems(shards: Sequence[Path], sources: dict[str, str], seeds: Path) -> None:
    """Raise UserError where a problem is in two shards, or is not among the seeds."""
    problems = (
        (shard, name)
        for shard in shards
        for part in tables.batches(shard / "status.parquet", schemas.STATUS, ("problem_id",), rows=65536)
        for name in part["problem_id"].to_pylist()
    )
    for shard, name in tables.unique(problems, "problem", shards, "delete the stale one", key=itemgetter(1)):
        if name not in sources:
            raise UserError(
                f"problem {name!r} of {shard} was annotated but is not in {seeds}: delete the annotation, run again"
            )
