"""The curves of step judgements say what the numbers beside them do: the area, the loss, the AUC."""

from __future__ import annotations

import numpy as np
import pytest

from mmprm.evaluation.aggregates import auc
from mmprm.evaluation.evaluate_prm import step_measures
from mmprm.evaluation.step_curves import by_depth, roc

# Fawcett (2006), "An introduction to ROC analysis", figure 3: twenty scored instances, positive or negative.
SCORES = [
    0.9,
    0.8,
    0.7,
    0.6,
    0.55,
    0.54,
    0.53,
    0.52,
    0.51,
    0.505,
    0.4,
    0.39,
    0.38,
    0.37,
    0.36,
    0.35,
    0.34,
    0.33,
    0.3,
    0.1,
]
POSITIVE = [c == "p" for c in "ppnpppnnpnpnpnnnpnpn"]


def area(curve: list[dict[str, float]]) -> float:
    x, y = ([point[key] for point in curve] for key in ("false_positive", "true_positive"))
    return float(np.trapezoid(y, x))


def test_the_published_example_of_twenty_has_its_curve() -> None:
    curve = roc(np.array(SCORES), np.array(POSITIVE))
    points = [(round(point["false_positive"], 9), round(point["true_positive"], 9)) for point in curve]
    assert points[:5] == [(0, 0), (0, 0.1), (0, 0.2), (0.1, 0.2), (0.1, 0.3)] and points[-1] == (1, 1)
    assert (0.1, 0.5) in points, "the most accurate threshold, 0.54"
    assert area(curve) == pytest.approx(auc(SCORES, POSITIVE))


@pytest.mark.parametrize("distinct", [3, 40, 5000])
def test_the_area_below_a_curve_is_the_auc_ties_counting_half(distinct: int) -> None:
    rng = np.random.default_rng(distinct)
    right = rng.random(3000) < 0.7
    scores = np.round((rng.normal(0, 1, 3000) + right) * distinct / 8) / distinct
    curve = roc(scores, right)
    assert len(curve) <= 101
    known = auc(scores.tolist(), right.tolist())
    assert area(curve) == pytest.approx(known, abs=1e-9 if len(curve) < 101 else 2e-3)
    assert (np.diff([point["true_positive"] for point in curve]) >= 0).all()


def test_without_both_kinds_of_steps_there_is_no_curve() -> None:
    assert roc(np.array([0.1, 0.2]), np.array([True, True])) == roc(np.empty(0), np.empty(0, bool)) == []


def test_depths_add_up_to_the_whole_and_the_answer_lies_behind_the_last_step() -> None:
    rows = [
        {"path_id": "a", "label_source": ["probed"] * 3, "soft": [0.5, None, 1.0], "hard": [1, 1, 1]},
        {"path_id": "b", "label_source": ["probed"] * 2, "soft": [0.25, 0.0], "hard": [1, 0]},
        {"path_id": "c", "label_source": ["probed"] * 3, "soft": [None, 0.5, None], "hard": [None, 1, 0]},
    ]
    found = step_measures(rows, [[0.6, 0.7, 0.9], [0.3, 0.2], [0.5, 0.4, 0.1]])
    depths = found["by_depth"]
    assert [(row["depth"], row["n_markers"]) for row in depths] == [(1, 2), (2, 2), (3, 1)]
    assert sum(row["loss"] * row["n_markers"] for row in depths) / found["n_markers"] == pytest.approx(found["loss"])
    assert [row["auc_steps"] for row in depths] == [None, 1.0, 1.0], "of the first step none is wrong"
    assert area(found["roc"]) == pytest.approx(found["auc_steps"])
    assert by_depth(np.array([1]), np.array([0.5]), np.array([np.nan]), np.array([1.0])) == []
