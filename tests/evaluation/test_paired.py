"""PRMs on the same candidates are compared problem by problem: differences by hand, clustered as problems are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ranked_tables

from mmprm import config as configuration
from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.evaluation.aggregates import AGGREGATES
from mmprm.evaluation.intervals import intervals
from mmprm.evaluation.measure import measure, minus_first
from mmprm.evaluation.selection_rules import WEIGHTS
from mmprm.runtime.errors import UserError

# Of each eight of 64 problems, those in which each variant ranks the right candidate first.
OF_EIGHT = {"soft": {0, 1, 2, 3}, "hard": {2, 3, 4, 5, 6, 7}, "twin": {0, 1, 2, 3}}
RIGHT = {name: {number for number in range(64) if number % 8 in of} for name, of in OF_EIGHT.items()}
HARD_MINUS_SOFT = np.array([-1, -1, 0, 0, 1, 1, 1, 1] * 8)
ALONE, PAIRS = [""] * 64, [f"pair {number // 2}" for number in range(64)]


def config() -> Config:
    mini = {"kind": "mini", "size": 8, "families": ["bars"]}
    return configuration.load(
        {
            "run": "test",
            "sources": {"drawn": {**mini, "split": "test"}, "pool": {**mini, "split": "seeds"}},
            "policy": {"base": "models/mini", "sources": ["pool"]},
            "seeds": {"sources": ["pool"]},
            "benchmarks": {"test": {"source": "drawn"}},
            "bench": {"n": 2, "primary": "min", "resamples": 2000},
            "prm": {"variants": {name: {} for name in RIGHT}},
        }
    )


def compared(folder: Path, groups: list[str], *variants: str) -> dict[str, dict[tuple[str, int], dict[str, Any]]]:
    scores = ranked_tables.write(folder, "drawn", "test", RIGHT, groups)
    place = folder / "bench/test/candidates.parquet"
    return minus_first(config(), folder / "problems/drawn.parquet", place, {name: [scores[name]] for name in variants})


def test_a_difference_is_the_mean_of_those_in_each_problem(tmp_path: Path) -> None:
    found = compared(tmp_path, ALONE, "soft", "hard", "twin")
    assert list(found) == ["hard", "twin"], "the first is what they are compared with"
    assert found["hard"]["bon/min", 2]["value"] == pytest.approx(2 / 8)
    assert found["hard"]["weighted_majority/min", 2]["value"] == pytest.approx(2 / 8)
    assert found["hard"]["bon/min", 1]["value"] == 0, "of one candidate nothing is chosen"
    same = found["twin"]["bon/min", 2]
    assert same["value"] == 0 and -0.1 < same["ci_low"] == -same["ci_high"] < 0, "64 problems do not prove it"
    back = compared(tmp_path, ALONE, "hard", "soft")["soft"]["bon/min", 2]
    assert back["value"] == -found["hard"]["bon/min", 2]["value"]


def test_what_a_prm_decides_is_compared_at_every_n_and_baselines_are_not(tmp_path: Path) -> None:
    metrics = [*(f"bon/{name}" for name in AGGREGATES), "weighted_majority"]
    metrics += [f"weighted_majority/{name}" for name in WEIGHTS]
    assert set(compared(tmp_path, ALONE, "soft", "hard")["hard"]) == {(name, n) for name in metrics for n in (1, 2)}


@pytest.mark.parametrize("groups", [ALONE, PAIRS])
def test_intervals_are_the_benchmarks_own_over_problems_and_over_groups(tmp_path: Path, groups: list[str]) -> None:
    found = compared(tmp_path, groups, "soft", "hard")["hard"]["bon/min", 2]
    order = sorted(range(64), key=str)  # the tables' order: problems are drawn by position
    bench, clusters = config().bench, None if groups == ALONE else [groups[number] for number in order]
    _, low, high = intervals(HARD_MINUS_SOFT[order], bench.confidence, bench.resamples, config().seed, clusters)
    assert (found["ci_low"], found["ci_high"]) == (pytest.approx(low[0]), pytest.approx(high[0]))
    assert found["ci_low"] < found["value"] < found["ci_high"]


def test_problems_that_share_an_image_widen_the_interval(tmp_path: Path) -> None:
    alone, pairs = (compared(tmp_path, groups, "soft", "hard")["hard"]["bon/min", 2] for groups in (ALONE, PAIRS))
    assert pairs["value"] == alone["value"]
    assert pairs["ci_high"] - pairs["ci_low"] > alone["ci_high"] - alone["ci_low"]


def test_of_several_trainings_the_difference_is_their_mean_and_its_interval_holds_their_spread(tmp_path: Path) -> None:
    """Three trainings of two recipes on 64 problems: right on eighths of them, so that the differences are known."""
    eighths = {"soft": [4, 4, 4], "hard": [6, 4, 8]}
    right = {f"{name}{at}": {n for n in range(64) if n % 8 < of} for name, each in eighths.items() for at, of in
             enumerate(each)}  # fmt: skip
    scores = ranked_tables.write(tmp_path, "drawn", "test", right, ALONE)
    place = tmp_path / "bench/test/candidates.parquet"
    trained = {name: [scores[f"{name}{at}"] for at in range(3)] for name in eighths}
    found = minus_first(config(), tmp_path / "problems/drawn.parquet", place, trained)["hard"]["bon/min", 2]
    assert found["value"] == pytest.approx(2 / 8)
    assert (found["trainings"], found["lowest"], found["highest"]) == (3, 0, pytest.approx(4 / 8))
    assert found["sd"] == pytest.approx(2 / 8)
    single = compared(tmp_path, ALONE, "soft", "hard")["hard"]["bon/min", 2]
    assert single["value"] == found["value"] and "trainings" not in single
    assert found["ci_high"] - found["ci_low"] > 2 * (single["ci_high"] - single["ci_low"])


def test_differences_are_those_of_the_accuracies_that_the_benchmark_reports(tmp_path: Path) -> None:
    found = compared(tmp_path, PAIRS, "soft", "hard")["hard"]
    reported = {}
    for name in ("soft", "hard"):
        place = tmp_path / "bench/test"
        files = (tmp_path / "problems/drawn.parquet", place / "candidates.parquet", place / name / "scores.parquet")
        measure(config(), "test", name, *files, tmp_path / f"{name}.json")
        rows = json.loads((tmp_path / f"{name}.json").read_text())["rows"]
        reported[name] = {(row["metric"], row["n"]): row["value"] for row in rows}
    for key, difference in found.items():
        assert difference["value"] == pytest.approx(reported["hard"][key] - reported["soft"][key], abs=1e-12)


def test_a_problem_without_verdicts_counts_for_neither(tmp_path: Path) -> None:
    scores = ranked_tables.write(tmp_path, "drawn", "test", RIGHT, ALONE)
    file = tmp_path / "bench/test/candidates.parquet"
    rows = tables.read_rows(file, schemas.CANDIDATES)
    undecided = [row | {"verdict": "undecided"} if row["problem_id"] == "test-0" else row for row in rows]
    tables.write(file, undecided, schemas.CANDIDATES)
    both = {name: [scores[name]] for name in ("soft", "hard")}
    found = minus_first(config(), tmp_path / "problems/drawn.parquet", file, both)
    assert found["hard"]["bon/min", 2]["value"] == pytest.approx(17 / 63)
    tables.write(file, [row | {"verdict": "undecided"} for row in rows], schemas.CANDIDATES)
    with pytest.raises(UserError, match=r"candidates\.parquet: no problem has a graded candidate"):
        minus_first(config(), tmp_path / "problems/drawn.parquet", file, both)
