"""Held-out measures of a PRM."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

from mmprm.data import schemas, tables
from mmprm.data.problem import Problem
from mmprm.evaluation.evaluate_prm import evaluate_prm, ranking_measures, step_measures
from mmprm.model import folders
from mmprm.prm import train_prm
from mmprm.runtime.errors import UserError


def _row(**labels):
    return {"path_id": "p", "label_source": ["probed"] * len(labels["hard"])} | labels


def test_loss_and_calibration_are_against_soft_labels_and_step_auc_against_hard_ones():
    rows = [_row(soft=[0.5, None, 0.0], hard=[1, 1, 0])]
    found = step_measures(rows, [[0.5, 0.9, 0.25]])
    assert found["n_markers"] == 2
    assert found["loss"] == pytest.approx((math.log(2) - math.log(0.75)) / 2)
    assert found["auc_steps"] == 1.0
    assert [(b["low"], b["predicted"], b["label"], b["count"]) for b in found["calibration"]] == [
        (0.2, 0.25, 0.0, 1),
        (0.5, 0.5, 0.5, 1),
    ]
    assert found["ece"] == pytest.approx(0.125)
    # Always predicting the mean soft label, 1/4, loses this much.
    assert (found["base_rate"], found["hard_base_rate"]) == (0.25, pytest.approx(2 / 3))
    expected = -sum(y * math.log(0.25) + (1 - y) * math.log(0.75) for y in (0.5, 0.0)) / 2
    assert found["constant_loss"] == pytest.approx(expected)


def test_ranking_compares_the_rollouts_of_one_problem_only():
    rollouts = [
        {"problem_id": name, "verdict": verdict}
        for name, verdict in (
            ("a", "correct"),
            ("a", "incorrect"),
            ("b", "correct"),
            ("b", "incorrect"),
            ("c", "correct"),
        )
    ]
    # Every score of problem a is above every score of b, and within each problem the wrong one is above the right one.
    found = ranking_measures(rollouts, [[0.8, 0.9], [0.9, 0.95], [0.1, 0.2], [0.3, 0.25], [0.99]])
    assert found["auc_within_problem"]["min"] == 0.0
    assert found["n_problems"] == 2 and found["n_rollouts"] == 5


@pytest.mark.slow
def test_trained_and_untrained_prm_stand_side_by_side_on_the_development_split(
    path_row,
    training_config,
    mini_policy_folder,
    mini_problems: list[Problem],
    prm_tables: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    config = training_config(max_steps=2)
    seeds, paths = prm_tables
    train_prm.train_prm(config, "soft", mini_policy_folder, seeds, paths, tmp_path / "work", tmp_path / "prm")
    common = {"text": "", "method": "test", "n_tokens": 1, "finish_reason": "stop", "searched": False, "status": "ok"}
    rollouts = []
    for problem in mini_problems:
        for number, good in enumerate((True, False, True)):
            row = path_row(problem, good)
            verdict = "correct" if good else "incorrect"
            row = (
                {"problem_id": problem.problem_id, "node_id": 0, "rollout": number, "verdict": verdict}
                | common
                | {
                    "steps": row["steps"],
                    "answer": row["answer"] or "7",
                }
            )
            rollouts += [row, row | {"node_id": 3}]
    shards = [tmp_path / "0-of-2", tmp_path / "1-of-2"]
    tables.write(shards[0] / "rollouts.parquet", rollouts[:40], schemas.ROLLOUTS)
    tables.write(shards[1] / "rollouts.parquet", rollouts[40:], schemas.ROLLOUTS)
    evaluate_prm(
        config, "soft", mini_policy_folder, tmp_path / "prm", seeds, paths, shards, tmp_path / "soft.heldout.json"
    )
    found = json.loads((tmp_path / "soft.heldout.json").read_text())
    assert set(found) == {"trained", "untrained"}
    for half in found.values():
        assert half["n_problems"] == 4 and half["n_rollouts"] == 12
        assert half["n_markers"] == 4 * 4
        assert set(half["auc_within_problem"]) >= {"min", "mean_odds", "last"}
        assert sum(bin["count"] for bin in half["calibration"]) == half["n_markers"]
    assert found["trained"]["loss"] < found["untrained"]["loss"]
    assert not list(tmp_path.glob(".soft*")), "the untrained PRM's folder is gone"
    other = shutil.copytree(mini_policy_folder, tmp_path / "other")
    (other / "generation_config.json").write_text("{}")
    folders.write_manifest(other, {})
    with pytest.raises(UserError, match=r"prm: it was not trained from the policy .*other"):
        evaluate_prm(config, "soft", other, tmp_path / "prm", seeds, paths, shards, tmp_path / "soft.heldout.json")
    table = tables.read(paths, schemas.PATHS)
    none = table.set_column(table.schema.get_field_index("split"), "split", [["train"] * len(table)])
    tables.write(tmp_path / "none.parquet", none.to_pylist(), schemas.PATHS)
    out = tmp_path / "none.json"
    evaluate_prm(config, "soft", mini_policy_folder, tmp_path / "prm", seeds, tmp_path / "none.parquet", shards, out)
    assert "none.parquet has no path of split dev; raise labels.dev_share" in capsys.readouterr().err
    nothing = json.loads(out.read_text())
    assert set(nothing) == set(found) and set(nothing["trained"]) == set(found["trained"])
    assert nothing["trained"]["loss"] is None and nothing["trained"]["n_problems"] == 0
