"""Labels are gathered tree by tree: what the tables must be for that, and that memory does not grow with them."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from toy_trees import stage
from toy_world import toy_config

from mmprm.config import Labels
from mmprm.data import schemas, tables
from mmprm.labels.cleaning import Cleaning
from mmprm.labels.gather import gather_labels, sources_of, trees
from mmprm.runtime.errors import UserError

NAMES = ("nodes", "rollouts")
PLAIN = Cleaning(Labels())
SCHEMAS = {"nodes": schemas.NODES, "rollouts": schemas.ROLLOUTS}


def read(shard: Path, name: str) -> list[dict]:
    return tables.read_rows(shard / f"{name}.parquet", SCHEMAS[name])


def test_trees_come_one_by_one_with_all_their_rows(tmp_path: Path) -> None:
    stage(tmp_path, 2)
    shards = [tmp_path / "0-of-2", tmp_path / "1-of-2"]
    found = list(trees(shards))
    for place, name in enumerate(NAMES):
        rows = [row for shard in shards for row in read(shard, name)]
        taken = [row for tree in found for row in tree[1 + place]]
        assert [{key: row[key] for key in taken[0]} for row in rows] == taken
    assert "text" not in found[0][2][0], "the texts are most of an annotation, and stay on the disk"


def test_a_tree_without_rollouts_and_a_problem_without_a_tree_are_taken_as_they_are(tmp_path: Path) -> None:
    stage(tmp_path)
    shard = tmp_path / "0-of-1"
    first, second, *_ = dict.fromkeys(row["problem_id"] for row in read(shard, "nodes"))
    rollouts = [row for row in read(shard, "rollouts") if row["problem_id"] not in (first, second)]
    tables.write(shard / "rollouts.parquet", rollouts, schemas.ROLLOUTS)
    nodes = [row for row in read(shard, "nodes") if row["problem_id"] != first]
    tables.write(shard / "nodes.parquet", nodes, schemas.NODES)
    found = {name: own for name, _, own in trees([shard])}
    assert first not in found and found[second] == []
    assert all(own for name, own in found.items() if name != second)


def test_rollouts_of_another_annotation_than_the_nodes_are_refused(tmp_path: Path) -> None:
    stage(tmp_path)
    shard = tmp_path / "0-of-1"
    first = read(shard, "nodes")[0]["problem_id"]
    tables.write(shard / "nodes.parquet", [r for r in read(shard, "nodes") if r["problem_id"] != first], schemas.NODES)
    with pytest.raises(UserError, match="not of one annotation"):
        list(trees([shard]))


def test_a_problem_whose_rows_lie_apart_is_refused(tmp_path: Path) -> None:
    stage(tmp_path)
    shard = tmp_path / "0-of-1"
    apart = next(row["problem_id"] for row in read(shard, "nodes") if row["node_id"] == 1)
    for name in NAMES:
        first, *more = (row for row in read(shard, name) if row["problem_id"] == apart)
        others = [row for row in read(shard, name) if row["problem_id"] != apart]
        tables.write(shard / f"{name}.parquet", [first, *others, *more], SCHEMAS[name])
    with pytest.raises(UserError, match="occurs twice"):
        gather_labels(toy_config(), tmp_path / "seeds.parquet", [shard], tmp_path / "o", tmp_path / "s", PLAIN)
    assert not (tmp_path / "o").exists()


def test_a_problem_that_is_no_seed_is_refused(tmp_path: Path) -> None:
    stage(tmp_path)
    first, *others = tables.read_rows(tmp_path / "seeds.parquet", schemas.PROBLEMS)
    tables.write(tmp_path / "seeds.parquet", others, schemas.PROBLEMS)
    assert first["problem_id"] not in sources_of(tmp_path / "seeds.parquet")
    with pytest.raises(UserError, match=f"'{first['problem_id']}' .* is not in"):
        gather_labels(
            toy_config(), tmp_path / "seeds.parquet", [tmp_path / "0-of-1"], tmp_path / "o", tmp_path / "s", PLAIN
        )


def test_memory_does_not_grow_with_the_shards(tmp_path: Path) -> None:
    """The same trees under other names, twelve times as many: Python holds about as much at once."""
    stage(tmp_path)
    seeds = tables.read_rows(tmp_path / "seeds.parquet", schemas.PROBLEMS)
    status = tables.read_rows(tmp_path / "0-of-1/status.parquet", schemas.STATUS)
    rows = {name: read(tmp_path / "0-of-1", name) for name in NAMES}

    def peak(times: int) -> int:
        folder = tmp_path / str(times)
        shards = [folder / f"{copy}-of-{times}" for copy in range(times)]
        renamed = [[row | {"problem_id": f"{copy}-{row['problem_id']}"} for row in seeds] for copy in range(times)]
        tables.write(folder / "seeds.parquet", [row for part in renamed for row in part], schemas.PROBLEMS)
        for copy, shard in enumerate(shards):
            for name, schema, own in (
                ("status", schemas.STATUS, status),
                *((name, SCHEMAS[name], rows[name]) for name in NAMES),
            ):
                new = [row | {"problem_id": f"{copy}-{row['problem_id']}"} for row in own]
                tables.write(shard / f"{name}.parquet", new, schema)
        tracemalloc.start()
        gather_labels(toy_config(), folder / "seeds.parquet", shards, folder / "paths", folder / "statistics", PLAIN)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(1)  # what is imported and cached at first use
    one, twelve = peak(1), peak(12)
    assert twelve < 1.5 * one, (one, twelve)
