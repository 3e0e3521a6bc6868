"""Label accuracy: worked by hand on one figure, and on the truth itself."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from toy_trees import node
from toy_world import toy_config

from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, write_problems
from mmprm.labels.label_accuracy import (
    MiniWorld,
    Ratios,
    first_errors,
    label_accuracy,
    measure_labels,
    path_markers,
    states_by_k,
)
from mmprm.mini.problems import generate
from mmprm.mini.truth import figure_of
from mmprm.model.step_text import parse, render_solution

RIGHT = ["A = 2", "B = 3", "C = 4", "p = A * B = 2 * 3 = 6", "answer = p + C = 6 + 4 = 10"]
PROBLEM = Problem(
    problem_id="p", source="pool", question="Find A * B + C.", answer="10", family="bars",
    solution=render_solution(RIGHT, "10"),
)  # fmt: skip
WORLD = MiniWorld({"p": PROBLEM}, {"p": figure_of(PROBLEM)})
RATIOS = Ratios(toy_config(bench={"n": 5, "resamples": 200}))


def path(kind: str, steps: list[str], hard: list[int | None], answer: str | None = None, **columns: list) -> dict:
    sources = ["probed"] * len(steps) + ["answer"] * (answer is not None)
    labels = {"hard": hard, "soft": [None if one is None else float(one) for one in hard], "label_source": sources}
    return {"problem_id": "p", "kind": kind, "steps": steps, "answer": answer} | labels | columns


def value(found: dict, labels: str, measure: str, **where: object) -> float | None:
    (row,) = [r for r in found["rows"] if r["labels"] == labels and all(r[key] == want for key, want in where.items())]
    return row[measure]["value"]


def test_precision_and_recall_worked_by_hand() -> None:
    paths = [
        path("negative", ["A = 2", "B = 5"], [1, 0]),  # found
        path("negative", ["A = 2", "B = 3"], [1, 0]),  # a right state called wrong
        path("positive", ["A = 2", "C = 5"], [1, 1], soft=[1.0, 0.25]),  # a wrong state called right
        path("outcome", RIGHT, [None] * 5 + [0], answer="11"),
    ]
    found = label_accuracy(WORLD, paths, [], [], RATIOS)
    # States: A = 2 (once), B = 5, B = 3, C = 5, and the answer 11.
    assert (found["markers"], found["problems"], found["markers_unreadable"]) == (5, 1, 0)
    assert value(found, "hard", "precision", source="all") == pytest.approx(2 / 3)
    assert value(found, "hard", "recall", source="all") == pytest.approx(2 / 3)
    assert value(found, "hard", "right", source="all") == pytest.approx(3 / 5)
    assert value(found, "hard", "precision", source="answer") == 1
    assert value(found, "soft", "recall", threshold=0.125) == pytest.approx(1 / 2)
    assert value(found, "soft", "recall", threshold=0.25) == 1
    assert found["errors"] == {"reading": 2}


def test_a_state_is_wrong_from_its_first_wrong_step_on_and_unreadable_ones_are_counted_apart() -> None:
    markers, unreadable = path_markers(
        WORLD,
        [
            path("positive", ["A = 3", "B = 3"], [1, 1]),
            path("positive", ["hm", "C = 9", "B = 3"], [1, 1, 1]),
            path("positive", ["hm", "B = 3"], [1, 1]),
        ],
    )
    assert markers["wrong"].tolist() == [True, True, True, True]
    assert unreadable == 2  # `hm`, and `hm, B = 3`


def test_located_errors_are_exact_late_or_early() -> None:
    paths = [
        path("negative", ["A = 2", "B = 5"], [1, 0]),
        path("negative", ["A = 3", "B = 3", "C = 4"], [1, 1, 0]),  # the first step is wrong, the third was located
        path("negative", ["A = 2", "B = 3"], [1, 0]),
        path("negative", RIGHT, [1] * 5 + [0], answer="11"),  # an error of the answer alone
        path("negative", ["hm", "B = 3"], [1, 0]),  # not known
        path("positive", ["A = 3"], [1]),  # no located error
    ]
    found = first_errors(WORLD, paths, RATIOS)
    assert found["paths"] == 4
    assert (found["exact"]["value"], found["too_late"]["value"], found["too_early"]["value"]) == (0.5, 0.25, 0.25)
    assert found["offsets"] == {"0": 2, "2": 1}


def test_states_are_called_wrong_while_none_of_their_first_k_rollouts_is_right() -> None:
    nodes = [
        node(0, [], 1, 4),
        node(1, ["A = 2"], 1, 4),
        node(2, ["A = 3"], 0, 4),
        node(3, ["A = 2", "B = 3"], 1, 2),  # fewer rollouts: left out
        node(4, ["A = 2", "B = 5"], 1, 3, n_undecided=1),
    ]
    verdicts = {0: "cwww", 1: "wwcw", 2: "wwww", 3: "cw", 4: "cwwu"}
    names = {"c": "correct", "w": "incorrect", "u": "undecided"}
    rollouts = [
        {"problem_id": "p", "node_id": number, "rollout": place, "verdict": names[letter]}
        for number, letters in verdicts.items()
        for place, letter in enumerate(letters)
    ]
    found = states_by_k(WORLD, [row | {"problem_id": "p"} for row in nodes], rollouts[::-1])
    assert [k for k, _ in found] == [1, 2, 4]
    assert {k: list(states.itertuples(name=None)) for k, states in found} == {
        1: [("p", False, True), ("p", True, True)],
        2: [("p", False, True), ("p", True, True)],
        4: [("p", False, False), ("p", True, True)],
    }


def ratio(parts: list[tuple[str, bool]]) -> dict:
    return RATIOS(pd.Series([hit for _, hit in parts], index=[name for name, _ in parts], dtype=bool))


def test_intervals_are_over_problems_and_hold_the_value() -> None:
    parts = [(f"p{number}", (number + item) % 3 == 0) for number in range(30) for item in range(4)]
    found = ratio(parts)
    assert found["ci_low"] < found["value"] < found["ci_high"] and found["count"] == 120
    # Items of one problem that are all alike say no more than one of them.
    alike = [(f"p{number}", number % 2 == 0) for number in range(20)]
    once, often = ratio(alike), ratio(alike * 10)
    assert (once["ci_low"], once["ci_high"]) == pytest.approx((often["ci_low"], often["ci_high"]))
    assert ratio([]) == {"value": None, "ci_low": None, "ci_high": None, "count": 0}


def test_labels_that_are_the_truth_are_measured_as_perfect_and_other_problems_are_left_out(tmp_path: Path) -> None:
    problems = generate("seeds", 8, ["bars", "table"], 0)
    other = Problem("other", "k12", "What?", "1")
    write_problems(tmp_path / "seeds.parquet", [*problems, other])
    rows, nodes = [], []
    for problem in [*problems, other]:
        steps = ["A = 1" if problem.family == "bars" else "pen price = 1"]  # no figure shows a 1
        common = {"problem_id": problem.problem_id, "source": "pool", "split": "train"}
        counts = {"n_correct": [0], "n_rollouts": [4], "hard": [0], "label_source": ["probed"], "soft": [0.0]}
        path_of_it = {"path_id": problem.problem_id, "kind": "negative", "steps": steps, "answer": None}
        rows.append(common | path_of_it | counts)
        one = node(1, steps, 0, 4) | {"problem_id": problem.problem_id, "parent_id": 0, "mc": 0.0, "visits": 0}
        nodes.append(one)
    tables.write(tmp_path / "paths.parquet", rows, schemas.PATHS)
    tables.write(tmp_path / "nodes.parquet", nodes, schemas.NODES)
    tables.write(tmp_path / "rollouts.parquet", [], schemas.ROLLOUTS)
    config = toy_config(bench={"n": 5, "resamples": 200})
    measure_labels(config, tmp_path / "seeds.parquet", tmp_path / "paths.parquet", [tmp_path], tmp_path / "q.json")
    found = json.loads((tmp_path / "q.json").read_text())
    assert (found["problems"], found["markers"]) == (8, 8)
    assert value(found, "hard", "precision", source="all") == value(found, "hard", "recall", source="all") == 1
    assert found["first_error"]["exact"]["value"] == 1


def test_what_a_consensus_filter_leaves_is_measured_beside_what_it_was_given(tmp_path: Path) -> None:
    labelled = {
        "a": ("negative", ["A = 2", "B = 5"], [1, 0], "train"),  # exact
        "b": ("negative", ["A = 2", "B = 3"], [1, 0], "train"),  # no error: a right state called wrong
        "c": ("positive", ["A = 3"], [1], "train"),  # a wrong state called right
        "d": ("negative", ["A = 2", "B = 3", "C = 4"], [1, 1, 0], "dev"),
    }
    marks = {name: len(hard) for name, (_, _, hard, _) in labelled.items()}
    rows = [
        path(kind, steps, hard) | {"path_id": name, "source": "pool", "split": split}
        | {"n_correct": [None] * marks[name], "n_rollouts": [None] * marks[name]}
        for name, (kind, steps, hard, split) in labelled.items()
    ]  # fmt: skip
    drawn = generate("seeds", 1, ["bars"], 0)[0]
    write_problems(tmp_path / "seeds.parquet", [PROBLEM, drawn])
    tables.write(tmp_path / "paths.parquet", rows, schemas.PATHS)
    tables.write(tmp_path / "agreed.parquet", [rows[0], rows[3]], schemas.PATHS)
    for name, schema in (("nodes", schemas.NODES), ("rollouts", schemas.ROLLOUTS)):
        tables.write(tmp_path / f"{name}.parquet", [], schema)
    files = [tmp_path / name for name in ("seeds.parquet", "paths.parquet")]
    config = toy_config(bench={"n": 5, "resamples": 200})
    measure_labels(config, *files, [tmp_path], tmp_path / "with.json", [tmp_path / "agreed.parquet"])
    measure_labels(config, *files, [tmp_path], tmp_path / "without.json")
    found, without = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("with", "without"))
    before, after = (f"training, {name} consensus" for name in ("before", "after"))
    # States of training paths: A = 2 (once), B = 5, B = 3, A = 3; left are A = 2 and B = 5.
    assert value(found, "hard", "precision", source=before) == pytest.approx(1 / 2)
    assert value(found, "hard", "recall", source=before) == pytest.approx(1 / 2)
    assert value(found, "hard", "right", source=before) == pytest.approx(2 / 4)
    assert [value(found, "hard", measure, source=after) for measure in ("precision", "recall", "right")] == [1, 1, 1]
    assert found["first_error_before_consensus"]["exact"]["value"] == 0.5
    assert found["first_error_after_consensus"]["exact"]["value"] == 1
    assert {key: found[key] for key in without if key != "rows"} == {k: v for k, v in without.items() if k != "rows"}
    assert found["rows"][: len(without["rows"])] == without["rows"] and len(found["rows"]) == len(without["rows"]) + 2


def test_the_labels_of_dense_solutions_stand_beside_those_of_searches(tmp_path: Path) -> None:
    problem = generate("seeds", 1, ["bars"], 0)[0]
    right = parse(problem.solution or "").steps[:2]
    common = {"problem_id": problem.problem_id, "source": "pool", "split": "train"}
    known = {
        "n_correct": [3, 0],
        "n_rollouts": [4, 4],
        "hard": [1, 0],
        "label_source": ["probed"] * 2,
        "soft": [0.75, 0.0],
    }
    dense = common | known | {"path_id": "d", "kind": "negative", "steps": [right[0], "A = 1"], "answer": None}
    other = common | known | {"path_id": "o", "kind": "negative", "steps": [right[1], right[0]], "answer": None}
    extra = {"problem_id": problem.problem_id, "parent_id": 0, "mc": 0.0, "visits": 0}
    nodes = [node(1, dense["steps"][:1], 3, 4) | extra, node(2, dense["steps"], 0, 4) | extra]
    nodes.append(node(3, other["steps"], 0, 4) | extra)  # its first state was not probed
    write_problems(tmp_path / "seeds.parquet", [problem])
    tables.write(tmp_path / "paths.parquet", [dense, other], schemas.PATHS)
    tables.write(tmp_path / "nodes.parquet", nodes, schemas.NODES)
    tables.write(tmp_path / "rollouts.parquet", [], schemas.ROLLOUTS)
    files = (tmp_path / "seeds.parquet", tmp_path / "paths.parquet", [tmp_path], tmp_path / "q.json")
    small = {"bench": {"n": 5, "resamples": 200}}
    measure_labels(toy_config(**small), *files)
    plain = json.loads((tmp_path / "q.json").read_text())
    measure_labels(toy_config(**small, annotation={"k": 4, "max_rollouts": 40, "dense_solutions": 1}), *files)
    found = json.loads((tmp_path / "q.json").read_text())
    assert found["rows"][: len(plain["rows"])] == plain["rows"]
    assert {row["labels"] for row in found["rows"][len(plain["rows"]) :]} == {"dense"}
    assert value(found, "dense", "precision", threshold=None) == 1, "of both paths it would be a half"
    assert value(found, "dense", "right", threshold=0.125) == 1
