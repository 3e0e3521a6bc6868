"""The switches of labels that are experiments: worked by hand, and what none of them may do."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_trees import node, rollout, stage

from mmprm.annotation.tree import Tree
from mmprm.config import Labels
from mmprm.experiments.cleaning import InformationRanking, balanced_information, scan
from mmprm.labels.cleaning import Cleaning
from mmprm.labels.evidence import Evidence, StepPath

# The question and `a, b` were probed. Through `a` went three of the question's rollouts, two of them through `a, b`.
NODES = [node(0, [], 2, 4), node(1, ["a", "b"], 1, 4)]
ROLLOUTS = [
    rollout(0, ["a", "b", "c"], "correct", answer="ok"),
    rollout(0, ["a", "b", "x"], "incorrect", searched=True),
    rollout(0, ["a", "y"], "correct", answer="ok"),
    rollout(0, [], "unparsed"),
    rollout(1, ["c"], "correct", answer="ok"),
    *[rollout(1, [tail], "incorrect") for tail in "def"],
]


def counts(evidence: Evidence, path: StepPath) -> list[tuple[int | None, int | None, str]]:
    label = evidence.label(path)
    return list(zip(label["n_correct"], label["n_rollouts"], label["label_source"], strict=True))


def test_only_the_rollouts_of_a_state_itself_count() -> None:
    evidence = Evidence(NODES, ROLLOUTS)
    path = next(path for path in evidence.positives() if path.steps == ("a", "b", "c"))
    assert counts(evidence, path) == [
        (None, None, "implied"),
        (1, 4, "probed"),
        (None, None, "implied"),
        (1, 1, "answer"),
    ]


def soft(kind: str, labels: dict, confidence: float | None, switches: Labels, changes: Counter[str]) -> list:
    """The soft labels of a path, as the stage makes them."""
    plain = Cleaning(switches)
    values = plain.soft_labels(Evidence([], []), StepPath(kind, (), None), labels)
    changes.update(plain.changes)
    return scan(kind, values, labels["label_source"], confidence, switches, changes)


def columns(*markers: tuple[int | None, int | None, str]) -> dict:
    """Label columns from (n_correct, n_rollouts, source); hard as the counts say, else 1."""
    return {
        "n_correct": [right for right, _, _ in markers],
        "n_rollouts": [n for _, n, _ in markers],
        "hard": [1 if n is None else int(right > 0) for right, n, _ in markers],
        "label_source": [source for *_, source in markers],
    }


NEGATIVE = columns(
    (7, 8, "probed"), (None, None, "implied"), (6, 8, "probed"), (1, 8, "probed"), (2, 2, "probed"), (0, 8, "probed")
)


@pytest.mark.parametrize(
    ("switches", "expected"),
    [
        ({}, [7 / 8, None, 6 / 8, 1 / 8, 1, 0]),
        ({"min_rollouts": 3}, [7 / 8, None, 6 / 8, 1 / 8, None, 0]),
        ({"reweight": True}, [1, None, 1, 1 / 4, 1, 0]),
        ({"tolerance": 2}, [1, 1, 1, 1 / 8, 1, 0]),
        ({"tolerance": 0}, [1, 1, 1, 1, 1, 0]),
        ({"tolerance": 9}, [7 / 8, None, 6 / 8, 1 / 8, 1, 0]),
        # SCAN: right before the tolerance, min(1, MC / pass rate) within it, wrong at the error.
        ({"tolerance": 2, "reweight": True}, [1, 1, 1, 1 / 4, 1, 0]),
    ],
)
def test_the_soft_labels_of_a_negative_path_worked_by_hand(switches: dict, expected: list) -> None:
    """The policy solves half of this problem; the error is the last step."""
    assert soft("negative", NEGATIVE, 0.5, Labels(**switches), Counter()) == expected


def test_an_error_in_the_answer_is_where_the_tolerance_is_counted_from() -> None:
    labels = columns((3, 4, "probed"), (2, 4, "probed"), (0, 1, "answer"))
    assert soft("negative", labels, 0.5, Labels(tolerance=1), Counter()) == [1, 0.5, 0]


def test_with_a_tolerance_a_right_solution_is_right_at_every_step_and_an_outcome_path_says_no_more() -> None:
    labels = columns((3, 4, "probed"), (None, None, "implied"), (1, 1, "answer"))
    changes: Counter[str] = Counter()
    assert soft("positive", labels, 0.5, Labels(tolerance=2), changes) == [1, 1, 1]
    assert changes == {"soft labels set to 1 beyond the tolerance": 2}
    outcome = columns((None, None, "none"), (0, 1, "answer"))
    assert soft("outcome", outcome, 0.5, Labels(tolerance=2, reweight=True), changes) == [None, 0]
    assert changes.total() == 2


def test_verdicts_of_answers_are_neither_reweighted_nor_too_few() -> None:
    labels = columns((1, 4, "probed"), (1, 1, "answer"))
    assert soft("positive", labels, 0.5, Labels(min_rollouts=4, reweight=True), Counter()) == [0.5, 1]


@given(
    st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=8),
    st.sampled_from(["positive", "negative"]),
    st.floats(0.01, 1),
    st.builds(
        Labels,
        min_rollouts=st.integers(1, 9),
        tolerance=st.none() | st.integers(0, 8),
        reweight=st.booleans(),
    ),
)
def test_soft_labels_are_probabilities_and_never_fall_by_reweighting(markers, kind, confidence, switches) -> None:
    labels = columns(*[(right, 8, "probed") if known else (None, None, "implied") for right, known in markers])
    found = soft(kind, labels, confidence, switches, Counter())
    assert len(found) == len(markers)
    for value, (right, known) in zip(found, markers, strict=True):
        assert value is None or 0 <= value <= 1
        if switches.tolerance is None and known and switches.min_rollouts <= 8:
            assert value >= right / 8
    plain = soft(kind, labels, confidence, Labels(), Counter())
    assert plain == [right / 8 if known else None for right, known in markers]


def test_the_balanced_information_score_worked_by_hand() -> None:
    # Two of four right: p (1 - p) = 1/4; the right ones have 1 and 1/2 on average: (1/4 + 1/20) * 3/4.
    assert balanced_information([1, 0.5, 0, 0], 0.05) == pytest.approx(0.225)
    assert balanced_information([0.5, 0.5], 0.05) == pytest.approx(0.025)  # all right: no contrast
    assert balanced_information([0, 0], 0.05) == pytest.approx(0.05)  # none right: R = 1
    assert balanced_information([], 0.05) == pytest.approx(0.05)
    assert balanced_information([0.9, 0], 0.05) > balanced_information([0.1, 0], 0.05)  # the more reliable


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0.001, 1))
def test_the_score_is_highest_for_half_right_and_grows_with_reliability(scores: list[float], smoothing: float) -> None:
    score = balanced_information(scores, smoothing)
    assert 0 <= score <= 0.25 + smoothing
    if any(scores):
        assert score == pytest.approx(balanced_information([s or 0 for s in reversed(scores)], smoothing))
        assert balanced_information([1 if s > 0 else 0 for s in scores], smoothing) >= score


def row(name: str, source: str, *scores: float) -> dict:
    n = [None if score < 0 else 8 for score in scores]
    right = [None if score < 0 else round(8 * score) for score in scores]
    return {"path_id": name, "source": source, "n_correct": right, "n_rollouts": n}


def test_the_top_share_is_kept_within_each_source() -> None:
    rows = [
        row("a", "one", 1, 0),
        row("b", "one", 0.5, 0),
        row("c", "one", 1, 1, -1),
        row("d", "two", 0.25, 0.25),
        row("e", "two", 0.125, 0.125),
    ]

    def kept(share: float, order: Sequence[dict] = rows) -> list[str]:
        best = InformationRanking(share, 0.05)
        for one in order:
            best.see(one)
        return [one["path_id"] for one in rows if best.keeps(one)]

    assert kept(1 / 3) == ["a", "d"]  # of two, one third is one
    assert kept(0.5) == ["a", "b", "d"]
    assert kept(1) == ["a", "b", "c", "d", "e"]
    assert all(kept(0.5, order) == ["a", "b", "d"] for order in itertools.permutations(rows))


def test_the_statistics_count_what_each_switch_did(tmp_path: Path) -> None:
    plain, statistics = stage(tmp_path / "plain", labels={"dev_share": 0.3})
    assert statistics["switches"] == {}
    confident = {row["problem_id"] for row in plain}

    def switched(name: str, **switches: object) -> tuple[list[dict], dict[str, int]]:
        table, found = stage(tmp_path / name, labels={"dev_share": 0.3, **switches})
        held_out = [row for row in plain if row["split"] == "dev"]
        assert [row for row in table if row["split"] == "dev"] == held_out, "held-out paths stay as they are"
        return table, found["switches"]

    table, did = switched("confidence", min_self_confidence=0.5)
    gone = {row["problem_id"] for row in plain} - {row["problem_id"] for row in table}
    assert did == {
        "problems below min_self_confidence": did["problems below min_self_confidence"],
        "paths of these problems": len(plain) - len(table),
    }
    assert gone and gone < confident and did["problems below min_self_confidence"] >= len(gone)

    table, did = switched("ratio", keep_ratio=0.5)
    assert did == {"paths beyond keep_ratio": len(plain) - len(table)}
    train = sum(row["split"] == "train" for row in plain)
    assert sum(row["split"] == "train" for row in table) == (train + 1) // 2

    table, did = switched("at least", min_rollouts=7)
    few = [
        (row, place)
        for row in table
        for place, (n, source) in enumerate(zip(row["n_rollouts"], row["label_source"], strict=True))
        if source == "probed" and n < 7 and row["split"] == "train"
    ]
    assert did["soft labels below min_rollouts"] == len(few) > 0
    assert all(row["soft"][place] is None for row, place in few)

    table, did = switched("scan", tolerance=1, reweight=True)
    before = {row["path_id"]: row for row in plain}
    changed = sum(
        value != old for row in table for value, old in zip(row["soft"], before[row["path_id"]]["soft"], strict=True)
    )
    assert 0 < changed <= sum(did.values())
    assert [row["n_correct"] for row in table] == [row["n_correct"] for row in plain], "counts stay counts"


def test_a_set_has_the_paths_of_a_run_with_its_switches_and_the_held_out_paths_of_its_own_run(tmp_path: Path) -> None:
    own = {"dev_share": 0.3, "max_paths_per_problem": 4}
    differs = {"max_outcome_ratio": 0, "outcome_steps": True, "keep_ratio": 0.5}
    plain, _ = stage(tmp_path / "plain", labels=own)
    table, statistics = stage(tmp_path / "set", label_set="less", labels=own | {"sets": {"less": differs}})
    alone, counted = stage(tmp_path / "alone", labels=own | differs)

    def of(rows: list[dict], split: str) -> list[dict]:
        return [row for row in rows if row["split"] == split]

    assert of(table, "train") == of(alone, "train") != of(plain, "train")
    assert of(table, "dev") == of(plain, "dev") != of(alone, "dev")
    assert statistics["switches"] == counted["switches"]


def test_the_shards_do_not_show_with_every_switch_on(tmp_path: Path) -> None:
    switches = {
        "outcome_steps": True,
        "min_rollouts": 2,
        "min_self_confidence": 0.2,
        "tolerance": 2,
        "reweight": True,
        "keep_ratio": 0.6,
    }
    for count in (1, 3):
        stage(tmp_path / str(count), count, labels=switches)
    for name in ("paths.parquet", "statistics.json"):
        assert len({(tmp_path / str(count) / name).read_bytes() for count in (1, 3)}) == 1


def test_a_tree_that_was_never_rolled_out_has_no_confidence() -> None:
    assert Evidence(Tree("p").node_rows(), []).self_confidence is None
    assert Evidence(NODES, ROLLOUTS).self_confidence == 0.5
