"""From the scores of several trainings to trainings.json: values by hand, and what is paired with what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import ranked_tables

from mmprm import config as configuration
from mmprm.config import Config
from mmprm.evaluation.measure import measure, measure_trainings, summarise

PROBLEMS = 64


def config(**prm: Any) -> Config:
    mini = {"kind": "mini", "size": 8, "families": ["bars"]}
    return configuration.load(
        {
            "run": "test",
            "sources": {"drawn": {**mini, "split": "test"}, "pool": {**mini, "split": "seeds"}},
            "policy": {"base": "models/mini", "sources": ["pool"]},
            "seeds": {"sources": ["pool"]},
            "benchmarks": {"test": {"source": "drawn"}},
            "bench": {"n": 2, "primary": "min", "resamples": 500},
            "prm": {"variants": {"soft": {}, "orm": {"label": "outcome"}}, **prm},
        }
    )


def eighths(count: int) -> set[int]:
    """The first so many of each eight problems."""
    return {number for number in range(PROBLEMS) if number % 8 < count}


def measured(folder: Path, right: dict[str, set[int]], outcome: list[str] | None = None) -> dict[str, Any]:
    """trainings.json of the trainings of soft, whose rankings are right on these problems."""
    scores = ranked_tables.write(folder, "drawn", "test", right, [""] * PROBLEMS)
    place = folder / "bench/test"
    files = (folder / "problems/drawn.parquet", place / "candidates.parquet")
    own = [path for name, path in scores.items() if name.startswith("soft")]
    others = [scores[name] for name in outcome or []]
    measure_trainings(config(replicates=len(own)), "test", "soft", *files, own, folder / "trainings.json", others)
    found: dict[str, Any] = json.loads((folder / "trainings.json").read_text())
    return found


def test_the_value_is_the_mean_over_trainings_beside_how_far_they_are_apart(tmp_path: Path) -> None:
    found = measured(tmp_path, {"soft": eighths(4), "soft@1": eighths(6), "soft@2": eighths(8)})
    rows = {row["metric"]: row for row in found["rows"] if row["n"] == 2}
    best, random = rows["bon/min"], rows["random"]
    assert best["value"] == pytest.approx(0.75) and best["trainings"] == 3 and best["variant"] == "soft"
    assert (best["lowest"], best["highest"], best["sd"]) == (0.5, 1.0, pytest.approx(0.25))
    assert (random["value"], random["lowest"], random["highest"], random["sd"]) == (0.5, 0.5, 0.5, 0)
    gain = rows["bon_minus_random/min"]
    assert gain["value"] == pytest.approx(0.25) and gain["lowest"] == 0 and gain["ci_low"] < 0.05
    assert [values["bon/min"] for values in found["by_training"]] == [0.5, 0.75, 1.0]
    assert found["auc_within_problem"]["min"] == pytest.approx(0.75)
    assert found["mcnemar"] == [], "it is of one training's choices"


def test_an_interval_holds_the_trainings_where_one_trainings_holds_problems_alone(tmp_path: Path) -> None:
    right = {"soft": eighths(4), "soft@1": eighths(5), "soft@2": eighths(6)}
    over_both = next(row for row in measured(tmp_path, right)["rows"] if (row["metric"], row["n"]) == ("bon/min", 2))
    alone = measured(tmp_path, {name: eighths(5) for name in right})["rows"]
    over_problems = next(row for row in alone if (row["metric"], row["n"]) == ("bon/min", 2))
    assert over_both["value"] == over_problems["value"] == pytest.approx(5 / 8)
    assert over_both["ci_low"] < over_problems["ci_low"] and over_both["ci_high"] > over_problems["ci_high"]


def test_one_training_is_measured_as_it_was(tmp_path: Path) -> None:
    found = measured(tmp_path, {"soft": eighths(5)})
    place = tmp_path / "bench/test"
    files = (tmp_path / "problems/drawn.parquet", place / "candidates.parquet", place / "soft/scores.parquet")
    measure(config(), "test", "soft", *files, tmp_path / "metrics.json")
    assert json.loads((tmp_path / "metrics.json").read_text()) == found
    assert {"trainings", "lowest"}.isdisjoint(found["rows"][0]) and "by_training" not in found and found["mcnemar"]


def test_each_training_stands_beside_the_outcome_models_training_of_its_number(tmp_path: Path) -> None:
    right = {"soft": eighths(4), "soft@1": eighths(6), "orm": eighths(2), "orm@1": eighths(8)}
    found = measured(tmp_path, right, ["orm@1", "orm"])
    first, second = found["by_training"]
    assert (first["orm/orm"], second["orm/orm"]) == (0.25, 1.0)
    assert first["bon_minus_orm/orm/min"] == pytest.approx(0.25) and second["bon_minus_orm/orm/min"] == -0.25


def test_the_summary_has_the_rows_over_trainings_under_the_variants_name(tmp_path: Path) -> None:
    measured(tmp_path, {"soft": eighths(4), "soft@1": eighths(6)})
    summarise(config(replicates=2), [tmp_path / "trainings.json"], tmp_path / "summary.json")
    rows = json.loads((tmp_path / "summary.json").read_text())
    assert {(row["variant"], row["trainings"]) for row in rows} == {("soft", 2)}
