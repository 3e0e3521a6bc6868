"""The timing at the largest size: its synthetic annotation is a real one, and its result is complete."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from perf import scale
from test_timing_scripts import run

from mmprm.data import schemas, tables
from mmprm.labels.gather import trees


def test_the_synthetic_annotation_has_real_trees_of_every_problem(tmp_path: Path) -> None:
    scale.make(tmp_path, 3_000, 2)
    shards = sorted((tmp_path / "annotation").iterdir())
    assert [shard.name for shard in shards] == ["0-of-2", "1-of-2"]
    seeds = tables.read_rows(tmp_path / "seeds.parquet", schemas.PROBLEMS)
    found = list(trees(shards))
    assert [name for name, _, _ in found] == [row["problem_id"] for row in seeds]
    assert len({row["images"][0] for row in seeds}) == len(seeds) == 3
    status = tables.read_rows([shard / "status.parquet" for shard in shards], schemas.STATUS)
    assert [row["n_rollouts"] for row in status] == [len(rollouts) for _, _, rollouts in found]
    assert 2_000 < sum(row["n_rollouts"] for row in status) < 4_000


@pytest.mark.heavy
def test_the_scale_script_measures_each_part_at_two_sizes(tmp_path: Path) -> None:
    ended = run("scale", "--rollouts", "20000", "--shards", "3", "--planned-shards", "3", "--folder", str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    (line,) = ended.stdout.splitlines()
    result = json.loads(line)
    small, large = result["gather"]
    assert small["rollouts"] * 5 < large["rollouts"] and large["paths"] > large["problems"] > small["problems"]
    assert [part["examples"] > 100 and part["tokens"] > 10_000 for part in result["assemble"]] == [True, True]
    assert result["dry_run"]["shards"] == 3
    assert all(part["seconds"] > 0 and part["peak_mb"] > 20 for part in [small, *result["assemble"], result["dry_run"]])
    assert list(tmp_path.iterdir()) == [], "what it made is gone"
