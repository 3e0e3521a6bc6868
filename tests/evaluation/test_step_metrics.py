"""Verdicts of steps: F1 scores against counting by hand, thresholds against trying all, and what stops the stage."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmprm.config import Config, load
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, write_problems
from mmprm.evaluation.step_benchmarks import Tables, measure_steps, score_steps
from mmprm.evaluation.step_metrics import METRICS, JudgedPath, by_subset, choose_threshold, scores, tallies
from mmprm.prm import score_candidates
from mmprm.prm.step_scores import Item, StepScores
from mmprm.runtime.errors import UserError


def path(labels: str, *p: float, subset: str = "", group: str = "g") -> JudgedPath:
    """`labels`: + for right, - for wrong."""
    return JudgedPath(group, subset, np.array([label == "+" for label in labels]), np.array(p) if p else None)


def by_hand(paths: list[JudgedPath], threshold: float) -> list[float]:
    """METRICS by their definitions, step after step."""
    located: dict[bool, list[bool]] = {True: [], False: []}
    counts = {(label, called): 0 for label in (True, False) for called in (True, False)}
    for one in paths:
        right = one.right.tolist()
        if one.p is None:
            located[all(right)].append(False)
            called = [not label for label in right]
        else:
            called = [p >= threshold for p in one.p]
            error, found = ([*of, False].index(False) for of in (right, called))
            located[all(right)].append(error == found)
        for label, verdict in zip(right, called, strict=True):
            counts[label, verdict] += 1
    wrong, passed = (np.mean(located[kind]) for kind in (False, True))

    def f1(of: bool) -> float:
        precision_base = counts[of, of] + counts[not of, of]
        recall = counts[of, of] / (counts[of, of] + counts[of, not of])
        precision = counts[of, of] / precision_base if precision_base else 0.0
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0

    harmonic = 2 * wrong * passed / (wrong + passed) if wrong + passed else 0.0
    return [harmonic, wrong, passed, (f1(True) + f1(False)) / 2, f1(True), f1(False)]


def drawn(rng: np.random.Generator, n: int = 12) -> list[JudgedPath]:
    """Paths with few different probabilities, so that ties occur; one is too long."""
    found = [path("++", 0.5, 0.7), path("-", 0.5), path("+-")]
    for _ in range(n):
        length = int(rng.integers(1, 5))
        right = rng.random(length) < 0.7
        found.append(JudgedPath("g", "", right, np.round(np.clip(rng.normal(0.4 + 0.2 * right, 0.2), 0, 1), 1)))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_scores_are_those_counted_by_hand(seed: int) -> None:
    paths = drawn(np.random.default_rng(seed))
    for threshold in (0.0, 0.25, 0.5, 0.7, 1.0):
        assert scores(tallies(paths, threshold).sum(0)).tolist() == pytest.approx(by_hand(paths, threshold))


def test_the_first_error_is_located_exactly_or_not_at_all() -> None:
    """ProcessBench: too early, exact, too late; what follows the first error does not count."""
    found = [tallies([path("++-+", *p)], 0.5)[0, :2].tolist() for p in
             ((0.9, 0.1, 0.1, 0.1), (0.9, 0.9, 0.1, 0.1), (0.9, 0.9, 0.1, 0.9), (0.9, 0.9, 0.9, 0.1))]  # fmt: skip
    assert found == [[0, 1], [1, 1], [1, 1], [0, 1]]
    assert tallies([path("++", 0.5, 0.9)], 0.5)[0, 2:4].tolist() == [1, 1], "at the threshold a step is called right"


def test_the_harmonic_mean_of_processbench() -> None:
    """The paper's table: GPT-4o on GSM8K locates 70.0 % and passes 91.2 %, which is an F1 of 79.2."""
    totals = np.array([700.0, 1000, 912, 1000, 1, 1, 1, 1])
    assert scores(totals)[0] == pytest.approx(0.792, abs=5e-4)


@pytest.mark.parametrize("metric", ["first_error", "macro_f1"])
@pytest.mark.parametrize("seed", range(10))
def test_no_threshold_is_better_than_the_chosen_one(seed: int, metric: str) -> None:
    paths = drawn(np.random.default_rng(seed))
    place = METRICS.index(metric)
    values = {t: scores(tallies(paths, t).sum(0))[place] for t in np.linspace(0, 1, 201)}
    chosen = choose_threshold(paths, metric)
    assert scores(tallies(paths, chosen).sum(0))[place] == pytest.approx(max(values.values()))


def test_of_equally_good_thresholds_the_one_nearest_to_one_half_is_taken() -> None:
    paths = [path("+-", 0.9, 0.2), path("+", 0.8)]
    assert choose_threshold(paths, "first_error") == pytest.approx((0.2 + 0.8) / 2)
    assert choose_threshold([path("+", 1.0), path("-", 1.0)], "macro_f1") in (pytest.approx(0.5), pytest.approx(1.0))


def test_probabilities_of_zero_and_one_can_be_told_apart() -> None:
    paths = [path("+-", 1.0, 0.0), path("+", 1.0)]
    assert scores(tallies(paths, choose_threshold(paths, "first_error")).sum(0)).tolist() == [1.0] * 6


def test_a_threshold_needs_right_and_wrong_ones() -> None:
    for only in ([path("+", 0.5)], [path("-", 0.5)], [path("+-")]):
        with pytest.raises(UserError, match="development set"):
            choose_threshold(only, "first_error")


def test_subsets_stand_beside_the_whole_and_their_mean() -> None:
    one, other = [path("+-", 0.9, 0.1), path("+", 0.9)], [path("+-", 0.9, 0.9), path("+", 0.9), path("+", 0.9)]
    totals = np.concatenate([tallies(part, 0.5).sum(0) for part in (one, other)])
    found = by_subset(totals).reshape(4, len(METRICS))
    assert found[0] == pytest.approx(scores(tallies(one + other, 0.5).sum(0)))
    assert found[1:3, 0].tolist() == [1.0, 0.0] and found[3, 0] == 0.5
    lone = by_subset(np.concatenate([tallies(one, 0.5).sum(0), tallies([path("+", 0.9)], 0.5).sum(0)]))
    assert math.isnan(lone.reshape(4, -1)[2, 1]), "a subset without a wrong path has no such accuracy"


def configuration(**tests: Any) -> Config:
    mini = {"kind": "mini", "size": 2, "families": ["bars"]}
    return load(
        {
            "run": "test",
            "sources": {"pool": {**mini, "split": "seeds"}, "test": {**mini, "split": "test"}},
            "policy": {"base": "base", "sources": ["pool"]},
            "seeds": {"sources": ["pool"]},
            "benchmarks": {"test": {"source": "test"}},
            "step_benchmarks": {name: {"problems": "p", "paths": name} | test for name, test in tests.items()},
            "bench": {"resamples": 300},
        }
    )


class Files:
    """The tables of a test and of a development set; `rows`: (problem, labels with None for neutral, P(yes))."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tables: dict[str, Tables] = {}

    def write(self, name: str, rows: list[tuple[str, list[int | None], list[float]]], **problem: Any) -> Tables:
        ids = sorted({row[0] for row in rows})
        paths = [
            {
                "path_id": f"{name}{number}", "problem_id": which, "source": name, "split": "test", "kind": "given",
                "steps": [f"step {step}" for step in range(len(labels))], "answer": None,
                "n_correct": [None] * len(labels), "n_rollouts": [None] * len(labels), "hard": labels,
                "label_source": ["given"] * len(labels), "soft": labels,
            }
            for number, (which, labels, _) in enumerate(rows)
        ]  # fmt: skip
        found = Tables(*(self.folder / f"{name}.{kind}.parquet" for kind in ("problems", "paths", "scores")))
        write_problems(found.problems, [Problem(one, name, f"{one}?", "7", **problem) for one in ids])
        tables.write(found.paths, paths, schemas.PATHS)
        of_path = [{"path_id": f"{name}{number}", "probabilities": row[2]} for number, row in enumerate(rows)]
        tables.write(found.scores, of_path, schemas.STEP_SCORES)
        self.tables[name] = found
        return found

    def measured(self, config: Config, name: str, development: str | None = None) -> dict[str, Any]:
        out = self.folder / "metrics.json"
        measure_steps(config, name, "soft", self.tables[name], development and self.tables[development], out)
        return json.loads(out.read_text())


@pytest.fixture
def files(tmp_path: Path) -> Files:
    found = Files(tmp_path)
    found.write("dev", [("d0", [1, 0], [0.7, 0.5]), ("d1", [1, 1], [0.8, 0.6])])
    found.write(
        "test", [("t0", [1, 0, None], [0.7, 0.5, 0.0]), ("t1", [1, None, 1], [0.9, 0.1, 0.9]), ("t1", [0], [0.7])]
    )
    return found


def test_the_threshold_is_chosen_on_the_development_set_and_neutral_steps_do_not_count(files: Files) -> None:
    config = configuration(dev={"metric": "first_error"}, test={"metric": "first_error", "development": "dev"})
    found = files.measured(config, "test", "dev")
    assert (found["threshold"], found["threshold_chosen_on"]) == (pytest.approx(0.55), "dev")
    values = {row["metric"]: row["value"] for row in found["rows"]}
    assert values["accuracy_wrong"] == 0.5 and values["accuracy_right"] == 1.0
    assert values["first_error"] == pytest.approx(2 / 3)
    assert (found["n_steps"], found["n_wrong_steps"], found["n_problems"], found["n_paths"]) == (5, 2, 2, 3)
    assert [row["metric"] for row in found["rows"] if row["primary"]] == ["first_error"]
    for row in found["rows"]:
        assert row["ci_low"] is row["ci_high"] is None, "two problems have no interval"
    own = files.measured(config, "dev")
    assert own["development"] and own["threshold_chosen_on"] == "dev"
    fixed = files.measured(configuration(test={"threshold": 0.95}), "test")
    assert (fixed["threshold"], fixed["threshold_chosen_on"], fixed["development"]) == (0.95, None, False)


@pytest.mark.parametrize("how", ["id", "content"])
def test_a_development_set_that_shares_a_problem_with_the_test_is_refused(files: Files, how: str) -> None:
    config = configuration(dev={}, test={"development": "dev"})
    rows = [("d0", [1, 0], [0.7, 0.5]), ("t1" if how == "id" else "x", [1, 1], [0.8, 0.6])]
    files.write("dev", rows)
    if how == "content":
        write_problems(files.tables["dev"].problems, [Problem("d0", "s", "d0?", ""), Problem("x", "s", "t1?", "other")])
    with pytest.raises(UserError, match="1 problems of 'dev' are in the test"):
        files.measured(config, "test", "dev")


def test_a_path_that_was_too_long_counts_as_wrong_and_one_without_labels_is_left_out(files: Files) -> None:
    files.write("test", [("t0", [1, 0], []), ("t1", [1, 1], [0.9, 0.9]), ("t2", [None], [0.9]), ("t3", [0], [0.1])])
    found = files.measured(configuration(test={"threshold": 0.5}), "test")
    assert (found["n_paths"], found["n_paths_too_long"], found["n_paths_without_labels"]) == (3, 1, 1)
    assert {row["metric"]: row["value"] for row in found["rows"]}["accuracy_wrong"] == 0.5
    assert found["auc_steps"] == 1.0


def test_scores_that_do_not_fit_and_paths_without_a_problem_are_named(files: Files) -> None:
    config = configuration(test={"threshold": 0.5})
    for rows, says in (
        ([("t0", [1, 0], [0.5])], "path test0: not a probability a marker"),
        ([("t0", [1], [math.nan])], "path test0: not a probability a marker"),
        ([("t0", [None], [0.5])], "no path has a label"),
    ):
        files.write("test", rows)
        with pytest.raises(UserError, match=says):
            files.measured(config, "test")
    files.write("test", [("t0", [1], [0.5])])
    tables.write(files.tables["test"].scores, [], schemas.STEP_SCORES)
    with pytest.raises(UserError, match="path test0 is missing"):
        files.measured(config, "test")
    write_problems(files.tables["test"].problems, [Problem("other", "s", "q", "7")])
    with pytest.raises(UserError, match="problem 't0' is not in"):
        files.measured(config, "test")
    with pytest.raises(UserError, match="no path of split 'dev'"):
        files.measured(configuration(test={"threshold": 0.5, "split": "dev"}), "test")


def test_scoring_reads_each_path_once_and_keeps_its_id(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def score_items(config: Config, prm: Path, items: list[Item]) -> Any:
        assert [(problem.problem_id, len(parts), answer) for problem, parts, answer in items] == [
            ("t0", 3, None), ("t1", 3, None), ("t1", 1, None)
        ]  # fmt: skip
        return [StepScores([0.5] * len(parts)) for _, parts, _ in items], {"seconds": 1.0}

    monkeypatch.setattr(score_candidates, "score_items", score_items)
    test = files.tables["test"]
    score_steps(configuration(test={"threshold": 0.5}), "test", files.folder, test.problems, test.paths, test.scores)
    found = tables.read_rows(test.scores, schemas.STEP_SCORES)
    assert [(row["path_id"], len(row["probabilities"])) for row in found] == [("test0", 3), ("test1", 3), ("test2", 1)]
    measured = files.measured(configuration(test={"threshold": 0.5}), "test")
    assert [row["metric"] for row in measured["rows"]] == list(METRICS)
    rows = tables.read_rows(test.paths, schemas.PATHS)
    rows[0]["steps"], rows[1]["steps"] = ["another", *rows[0]["steps"][1:]], rows[1]["steps"]
    tables.write(test.paths, rows, schemas.PATHS)
    with pytest.raises(UserError, match="made for other paths"):
        files.measured(configuration(test={"threshold": 0.5}), "test")


@pytest.mark.parametrize(
    ("tests", "says"),
    [
        ({"test": {"development": "none"}}, "'none' is no step benchmark"),
        ({"test": {"development": "test"}}, "'test' is no step benchmark"),
        ({"dev": {"threshold": 0.5}, "test": {"development": "dev"}}, "allowed: \\[\\]"),
        ({"dev": {}, "test": {"development": "dev", "threshold": 0.5}}, "not both"),
        ({"dev": {"paths": "x"}, "test": {"paths": "x", "development": "dev"}}, "has paths of the test"),
        (
            {"dev": {"paths": "x"}, "test": {"paths": "x", "split": "test", "development": "dev"}},
            "has paths of the test",
        ),
    ],
)
def test_a_development_set_that_cannot_be_one_is_refused_before_any_job(tests: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        configuration(**tests)
    configuration(dev={"paths": "x", "split": "dev"}, test={"paths": "x", "split": "test", "development": "dev"})
