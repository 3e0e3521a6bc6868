"""Shards: how all of them are named at once, and which number of them a stage keeps."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_engine import toy_problem

from mmprm.data.problem import write_problems
from mmprm.data.shards import Shard, expand_all, finished_count, names, read_shard
from mmprm.runtime.errors import UserError


@pytest.mark.parametrize(
    ("path", "second"),
    [
        ("results/a/annotation/all-of-3/nodes.parquet", "results/a/annotation/1-of-3/nodes.parquet"),
        ("results/a/annotation/all-of-3", "results/a/annotation/1-of-3"),
        ("bench/test/shards/all-of-3.parquet", "bench/test/shards/1-of-3.parquet"),
    ],
)
def test_one_name_stands_for_the_tables_of_all_shards(path: str, second: str) -> None:
    assert expand_all(path)[1] == second and len(expand_all(path)) == 3


@pytest.mark.parametrize("path", ["results/overall-of-3/x", "all-of-three/x", "1-of-3/nodes.parquet", "all-of-3x/y"])
def test_another_path_stands_for_itself(path: str) -> None:
    assert expand_all(path) == [path]


def finish(folder: Path, count: int, written: int, missing: int | None = None) -> None:
    for index, name in enumerate(names(count)):
        file = folder / name / "status.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        if index != missing:
            file.touch()
            os.utime(file, (written, written))


def test_a_finished_stage_keeps_its_shards_and_an_unfinished_one_does_not(tmp_path: Path) -> None:
    pattern = f"{tmp_path}/annotation/{{shard}}/status.parquet"
    folder = tmp_path / "annotation"
    assert finished_count([pattern], 4) == 4, "nothing is there"
    finish(folder, 3, written=10, missing=1)
    assert finished_count([pattern], 4) == 4, "one of the three is missing"
    finish(folder, 2, written=20)
    assert finished_count([pattern], 4) == 2
    finish(folder, 5, written=15)
    assert finished_count([pattern], 4) == 2, "of two that are whole, the one that was written last"
    assert finished_count([pattern], 5) == 5, "what the configuration says, where it is whole"
    finish(folder, 4, written=1)
    assert finished_count([pattern], 4) == 4


def test_a_stage_of_several_tables_has_one_number_of_shards(tmp_path: Path) -> None:
    for name in names(2):
        (tmp_path / "old").mkdir(exist_ok=True)
        (tmp_path / "old" / f"{name}.parquet").touch()
        (tmp_path / "old" / f"{name}.parquet.usage.json").touch()
    assert finished_count([f"{tmp_path}/{name}/{{shard}}.parquet" for name in ("new", "old")], 8) == 2


@given(st.integers(1, 9))
def test_each_problem_is_in_one_shard(count: int) -> None:
    owners = [[shard for shard in range(count) if Shard(shard, count).owns(f"p{n}")] for n in range(30)]
    assert all(len(found) == 1 for found in owners)


def test_a_shard_reads_its_own_problems_by_id_and_refuses_an_id_that_is_there_twice(tmp_path: Path) -> None:
    problems = [toy_problem(number) for number in range(12)]
    tables = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    write_problems(tables[0], problems[:7])
    write_problems(tables[1], problems[7:])
    parts = [read_shard(tables, Shard(index, 3)) for index in range(3)]
    assert sorted(problem.problem_id for part in parts for problem in part) == sorted(p.problem_id for p in problems)
    for index, part in enumerate(parts):
        ids = [problem.problem_id for problem in part]
        assert ids == sorted(ids) and all(Shard(index, 3).owns(name) for name in ids)
    with pytest.raises(UserError, match="occurs twice"):
        read_shard([*tables, tables[1]], Shard(0, 3))


def test_each_problem_belongs_to_one_shard_of_any_layout() -> None:
    for count in (1, 2, 5, 16):
        owners = [[i for i in range(count) if Shard(i, count).owns(f"p{n}")] for n in range(400)]
        assert all(len(owner) == 1 for owner in owners)
        assert {owner[0] for owner in owners} == set(range(count))


def test_a_shard_is_written_as_it_is_parsed() -> None:
    assert str(Shard.parse("3-of-12")) == "3-of-12"
    assert Shard.parse("3-of-12") == Shard(3, 12)


@pytest.mark.parametrize("text", ["4-of-4", "0-of-0", "-1-of-2", "0of4", "0-of-4x", ""])
def test_a_wrong_shard_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="shard"):
        Shard.parse(text)
