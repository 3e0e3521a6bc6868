"""Trees of all shards, a problem at a time. In: annotation folders. Out: each problem's nodes and rollouts.

A shard's tables hold a problem's rows side by side, the problems of both in the same order: so neither a shard nor a
column that nobody asks for (the rollouts' texts are most of an annotation) is ever in memory whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmprm.data import schemas, tables
from mmprm.runtime.errors import UserError

Row = dict[str, Any]
NODE_COLUMNS = ("problem_id", "node_id", "steps", "n_rollouts", "n_correct", "n_unparsed", "n_undecided", "mc")
ROLLOUT_COLUMNS = ("problem_id", "node_id", "steps", "answer", "verdict", "searched")


def trees(shards: Iterable[Path]) -> Iterator[tuple[str, list[Row], list[Row]]]:
    """(problem id, rows of NODE_COLUMNS, rows of ROLLOUT_COLUMNS) of each tree, shard by shard.

    A problem without nodes is left out. UserError where a problem comes twice, or the rollouts' problems in another
    order than the nodes'.
    """
    seen: set[str] = set()
    for shard in shards:
        rollouts = _problems(shard / "rollouts.parquet", schemas.ROLLOUTS, ROLLOUT_COLUMNS)
        following = next(rollouts, None)
        for name, nodes in _problems(shard / "nodes.parquet", schemas.NODES, NODE_COLUMNS):
            if name in seen:
                raise UserError(f"{shard}: problem {name!r} has two trees; delete the annotation and run again")
            seen.add(name)
            own: list[Row] = []
            if following is not None and following[0] == name:
                own, following = following[1], next(rollouts, None)
            yield name, nodes, own
        if following is not None:
            raise UserError(
                f"{shard}: rollouts.parquet has problem {following[0]!r} where nodes.parquet has none; the two are not "
                "of one annotation: delete the folder and run again"
            )


def _problems(path: Path, schema: pa.Schema, columns: Sequence[str]) -> Iterator[tuple[str, list[Row]]]:
    """The rows of each problem, problems in the table's order."""
    rows = (row for part in tables.batches(path, schema, columns) for row in part.to_pylist())
    for name, own in groupby(rows, key=_problem_id):
        yield name, list(own)


def _problem_id(row: Row) -> str:
    return str(row["problem_id"])


def sources_of(seeds: Path) -> dict[str, str]:
    """The source of each problem of a problem table, read without its images."""
    found: dict[str, str] = {}
    for part in tables.batches(seeds, schemas.PROBLEMS, ("problem_id", "source"), rows=65536):
        found.update(zip(part["problem_id"].to_pylist(), part["source"].to_pylist(), strict=True))
    return found


def check_problems(shards: Sequence[Path], sources: dict[str, str], seeds: Path) -> None:
    """UserError where a problem is in two shards, or is none of the seeds'."""
    seen: set[str] = set()
    for shard in shards:
        for part in tables.batches(shard / "status.parquet", schemas.STATUS, ("problem_id",), rows=65536):
            for name in part["problem_id"].to_pylist():
                if name in seen:
                    raise UserError(f"problem {name!r} is in two of {_listed(shards)}: delete the stale one")
                if name not in sources:
                    raise UserError(
                        f"problem {name!r} of {shard} was annotated but is not in {seeds}: delete the annotation, "
                        "run again"
                    )
                seen.add(name)


def _listed(shards: Sequence[Path]) -> str:
    named = [str(shard) for shard in shards]
    return ", ".join(named if len(named) <= 8 else [*named[:7], f"… ({len(named)} folders)"])
