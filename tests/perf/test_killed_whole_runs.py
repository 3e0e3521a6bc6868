"""The script that kills whole runs: what it compares, what it finds unfinished, and once all of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from perf import kills
from test_timing_scripts import run

from mmprm.data import schemas, tables

OUTPUT = """\
[Sun Nov 29 04:00:00 2026]
localrule intake:
    output: results/ci/problems/sft.parquet
    jobid: 3
    reason: Missing output files
    wildcards: source=sft

[Sun Nov 29 04:00:01 2026]
rule train_policy:
    input: models/mini-base/config.json
    jobid: 12
    threads: 2

[Sun Nov 29 04:00:02 2026]
Finished jobid: 3 (Rule: intake)
1 of 30 steps (3%) done
"""


def test_jobs_that_had_begun_and_not_ended_are_found_in_snakemakes_output() -> None:
    assert kills.unfinished(OUTPUT) == ["train_policy"]
    assert kills.unfinished(OUTPUT + "Finished jobid: 12 (Rule: train_policy)\n") == []


def test_tables_and_measures_are_compared_and_times_and_journals_are_not(tmp_path: Path) -> None:
    results = tmp_path / "results/ci"
    row = {"source": "s", "row": 1, "problem_id": None, "reason": "corrupt_image", "detail": "…"}
    for name in ("problems/sft.refused.parquet", "work/annotation/1.parquet"):
        tables.write(results / name, [row], schemas.REFUSED)
    for name in ("config.json", "bench/summary.json", "annotation/0-of-1/usage.json", "plan.json"):
        tables.write_json(results / name, [])
    before = kills.digests(tmp_path)
    assert list(before) == ["bench/summary.json", "problems/sft.refused.parquet"]
    tables.write(results / "problems/sft.refused.parquet", [row | {"row": 2}], schemas.REFUSED)
    after = kills.digests(tmp_path)
    assert [name for name in before if before[name] != after[name]] == ["problems/sft.refused.parquet"]


@pytest.mark.heavy
def test_a_run_that_is_killed_at_random_moments_ends_with_the_tables_of_an_undisturbed_one(tmp_path: Path) -> None:
    done = run("kills", "--folder", str(tmp_path), "--runs", "1", "--kills", "2")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["runs"], result["same"], result["different"]) == (1, 1, {}) and result["tables"] > 20
    assert 1 <= result["kills"] <= 2
    again = run(
        "kills", "--folder", str(tmp_path), "--runs", "1", "--kills", "2"
    )  # which continues: there is nothing left to do
    assert json.loads(again.stdout) == result and "undisturbed" not in again.stderr
