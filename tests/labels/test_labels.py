"""Paths from trees: what is positive, where a negative one ends, which labels are known, and how paths are chosen."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scripted_engine import ToyPolicy, step_is_right, toy_problem
from toy_trees import evidence_of, node, rollout, stage
from toy_world import ExactGrader, grow, toy_config

from mmprm.config import Annotation, Labels
from mmprm.data import schemas, tables
from mmprm.labels.cleaning import Cleaning, choose, in_dev
from mmprm.labels.evidence import Evidence, StepPath
from mmprm.labels.gather import gather_labels
from mmprm.runtime.errors import UserError

KEEP_ALL = Labels(max_positive_ratio=None)
PLAIN = Cleaning(Labels())


SMALL = Evidence(
    [node(0, [], 1, 2), node(1, ["a", "b"], 3, 4), node(2, ["a", "b", "c"], 0, 4), node(3, ["a", "b", "d", "e"], 2, 4)],
    [
        rollout(0, ["a", "z"], "correct", answer="ok"),
        rollout(0, ["a", "b", "c", "g"], "incorrect", searched=True),
        rollout(1, ["y"], "correct", answer="ok"),
        rollout(1, ["d", "e"], "incorrect", searched=True, answer="bad"),
        rollout(3, [], "correct", answer="ok"),
        rollout(3, [], "incorrect", answer="not searched"),
    ],
)


def test_a_negative_path_ends_at_the_first_error() -> None:
    path = StepPath("negative", ("a", "b", "c"), None)
    assert path in SMALL.negatives()[0]
    assert SMALL.label(path) == {
        "n_correct": [None, 3, 0],
        "n_rollouts": [None, 4, 4],
        "hard": [1, 1, 0],
        "label_source": ["implied", "probed", "probed"],
    }


def test_an_outcome_path_is_a_whole_wrong_solution_labelled_at_its_answer_alone() -> None:
    assert set(SMALL.outcomes()) == {
        StepPath("outcome", ("a", "b", "c", "g"), "x"),
        StepPath("outcome", ("a", "b", "d", "e"), "bad"),
        StepPath("outcome", ("a", "b", "d", "e"), "not searched"),
    }
    assert SMALL.label(StepPath("outcome", ("a", "b", "c", "g"), "x")) == {
        "n_correct": [None, None, None, None, 0],
        "n_rollouts": [None, None, None, None, 1],
        "hard": [None, None, None, None, 0],
        "label_source": ["none", "none", "none", "none", "answer"],
    }


def test_there_is_a_wrong_answer_for_each_right_one() -> None:
    """Else whatever has an answer would be right, and the marker after it would say nothing."""
    wrong = [StepPath("outcome", (f"wrong {i}",), "2") for i in range(20)]
    in_answer = StepPath("negative", ("negative",), "3")
    negatives = [*paths("negative", 4), in_answer]
    again = StepPath("outcome", in_answer.steps, in_answer.answer)
    chosen = choose("p", paths("positive", 20), negatives, [*wrong, again], Labels())
    answers = [path.kind for path in chosen if path.answer is not None]
    assert (answers.count("positive"), answers.count("negative"), answers.count("outcome")) == (5, 1, 4)
    assert again not in chosen
    assert kinds(choose("p", paths("positive", 2), negatives, wrong, Labels(max_outcome_ratio=0))) == (2, 5)


def test_an_error_in_the_answer_alone_is_marked_after_the_answer() -> None:
    path = StepPath("negative", ("a", "b", "d", "e"), "bad")
    assert path in SMALL.negatives()[0]
    assert SMALL.label(path) == {
        "n_correct": [None, 3, None, 2, 0],
        "n_rollouts": [None, 4, None, 4, 1],
        "hard": [1, 1, 1, 1, 0],
        "label_source": ["implied", "probed", "implied", "probed", "answer"],
    }


def test_a_positive_path_is_right_at_every_marker_and_soft_only_where_it_was_probed() -> None:
    assert set(SMALL.positives()) == {
        StepPath("positive", ("a", "z"), "ok"),
        StepPath("positive", ("a", "b", "y"), "ok"),
        StepPath("positive", ("a", "b", "d", "e"), "ok"),
    }
    assert SMALL.label(StepPath("positive", ("a", "b", "y"), "ok")) == {
        "n_correct": [None, 3, None, 1],
        "n_rollouts": [None, 4, None, 1],
        "hard": [1, 1, 1, 1],
        "label_source": ["implied", "probed", "implied", "answer"],
    }


def test_a_wrong_rollout_that_was_not_searched_gives_no_path() -> None:
    negatives, unlocated = SMALL.negatives()
    assert (len(negatives), unlocated) == (2, 0)
    assert "not searched" not in {path.answer for path in negatives}


def test_a_search_that_the_budget_ended_gives_no_path() -> None:
    evidence = Evidence(
        [node(0, [], 1, 2), node(1, ["a", "b", "c"], 0, 4)],
        [rollout(0, ["z"], "correct"), rollout(0, ["a", "b", "c", "d"], "incorrect", searched=True)],
    )
    assert evidence.negatives() == ([], 1)


def test_a_right_solution_through_a_supposed_error_takes_the_label_back() -> None:
    """`c` had no right rollout when it was probed; later a right solution went through it."""
    nodes = [node(0, [], 1, 2), node(1, ["a"], 2, 4), node(2, ["a", "c"], 0, 4), node(3, ["a", "c", "h"], 1, 4)]
    rollouts = [
        rollout(0, ["a", "c", "g"], "incorrect", searched=True),
        rollout(3, [], "correct", answer="ok"),
    ]
    evidence = Evidence(nodes, rollouts)
    assert evidence.negatives() == ([], 1)
    label = evidence.label(evidence.positives()[0])
    assert label["hard"] == [1, 1, 1, 1]
    # Nor is its soft label 0: none of its own rollouts was right, and that of `h` was not drawn from it.
    assert label["n_correct"] == [2, None, 1, 1]
    assert label["label_source"] == ["probed", "implied", "probed", "answer"]


def test_the_steps_of_a_wrong_solution_are_labelled_on_request_and_0_behind_an_error() -> None:
    nodes = [node(0, [], 1, 2), node(1, ["a"], 2, 4), node(2, ["a", "c"], 0, 4), node(3, ["a", "c", "d"], 0, 4)]
    rollouts = [
        rollout(0, ["a", "c", "d", "e", "f"], "incorrect", answer="bad"),
        rollout(0, ["x", "y"], "incorrect", answer="bad"),  # nothing is known of its steps
        rollout(1, ["z"], "correct", answer="ok"),
    ]
    first, second = Evidence(nodes, rollouts, label_outcome_steps=True).outcomes()
    evidence = Evidence(nodes, rollouts, label_outcome_steps=True)
    assert evidence.label(first) == {
        "n_correct": [2, 0, 0, None, None, 0],
        "n_rollouts": [4, 4, 4, None, None, 1],
        "hard": [1, 0, 0, 0, 0, 0],
        "label_source": ["probed", "probed", "probed", "after_error", "after_error", "answer"],
    }
    assert PLAIN.soft_labels(evidence, first, evidence.label(first)) == [0.5, 0, 0, 0, 0, 0]
    assert evidence.label(second)["label_source"] == ["none", "none", "answer"]
    assert Evidence(nodes, rollouts).label(first)["label_source"] == ["none"] * 5 + ["answer"]


def test_a_right_solution_through_a_wrong_state_ends_the_zeros_behind_it() -> None:
    """`c` had no right rollout when it was probed; a right solution goes through `c, d`; what is behind is unknown."""
    nodes = [node(0, [], 1, 2), node(1, ["c"], 0, 4), node(2, ["c", "d"], 1, 4)]
    rollouts = [rollout(0, ["c", "d", "e"], "incorrect", answer="bad"), rollout(2, [], "correct", answer="ok")]
    evidence = Evidence(nodes, rollouts, label_outcome_steps=True)
    (path,) = evidence.outcomes()
    assert evidence.label(path)["hard"] == [1, 1, None, 0]
    assert evidence.label(path)["label_source"] == ["implied", "probed", "none", "answer"]


def test_solutions_of_which_every_state_was_probed_are_chosen_first() -> None:
    positives, wrong = paths("positive", 20), [StepPath("outcome", (f"wrong {i}",), "2") for i in range(20)]
    dense = {positives[13], wrong[7]}
    for name in ("p", "q", "r"):
        chosen = choose(name, positives, paths("negative", 2), wrong, Labels(), dense.__contains__)
        assert dense <= set(chosen)
        assert kinds(chosen) == (2, 2)


def test_pooled_counts_are_refused_and_it_is_said_why() -> None:
    with pytest.raises(ValidationError, match="30 to 45 points too low; remove the key"):
        Labels(pooled_counts=False)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="30 to 45 points too low"):
        Labels(sets={"pooled": {"pooled_counts": True}})  # type: ignore[dict-item]


def test_undecided_rollouts_make_no_negative_path() -> None:
    """Defect 2."""
    evidence = Evidence(
        [node(0, [], 1, 2), node(1, ["a"], 0, 3, n_undecided=1)],
        [rollout(0, ["z"], "correct"), rollout(0, ["a", "b"], "incorrect", searched=True)],
    )
    assert evidence.negatives() == ([], 1)


def test_equal_paths_are_kept_once() -> None:
    evidence = Evidence(
        [node(0, [], 1, 2), node(1, ["a"], 0, 4)],
        [rollout(0, ["z"], "correct", answer="ok")] * 3
        + [rollout(0, ["a", tail], "incorrect", searched=True) for tail in "bcd"],
    )
    assert evidence.positives() == [StepPath("positive", ("z",), "ok")]
    assert evidence.negatives() == ([StepPath("negative", ("a",), None)], 0)


def paths(kind: str, number: int) -> list[StepPath]:
    return [StepPath(kind, (f"{kind} {i}",), "1" if kind == "positive" else None) for i in range(number)]


def kinds(chosen: list[StepPath]) -> tuple[int, int]:
    return sum(path.kind == "positive" for path in chosen), sum(path.kind == "negative" for path in chosen)


def test_positive_paths_are_at_most_the_ratio_of_the_negative_ones() -> None:
    positives, negatives = paths("positive", 20), paths("negative", 4)
    assert kinds(choose("p", positives, negatives, [], Labels(max_positive_ratio=1.0))) == (4, 4)
    assert kinds(choose("p", positives, negatives, [], Labels(max_positive_ratio=2.5))) == (10, 4)
    assert kinds(choose("p", positives, negatives, [], Labels(max_positive_ratio=0.3))) == (1, 4)
    assert kinds(choose("p", positives, negatives, [], KEEP_ALL)) == (20, 4)
    assert kinds(choose("p", positives, [], [], Labels())) == (0, 0)


def test_the_limit_on_paths_keeps_both_kinds() -> None:
    limited = Labels(max_paths_per_problem=6)
    assert kinds(choose("p", paths("positive", 20), paths("negative", 20), [], limited)) == (3, 3)
    assert kinds(choose("p", paths("positive", 1), paths("negative", 20), [], limited)) == (1, 5)


def test_the_choice_does_not_depend_on_the_order_of_the_paths() -> None:
    positives, negatives = paths("positive", 20), paths("negative", 4)
    assert choose("p", positives, negatives, [], Labels()) == choose(
        "p", positives[::-1], negatives[::-1], [], Labels()
    )
    assert choose("p", positives, negatives, [], Labels()) != choose("q", positives, negatives, [], Labels())


def test_texts_that_differ_come_before_variants_of_case_and_spaces() -> None:
    variants = [StepPath("positive", (text,), "1") for text in ("so A", "So a", "so  a", "SO A", "other")]
    for name in ("p", "q", "r", "s"):
        chosen = choose(name, variants, paths("negative", 2), [], Labels())
        assert {path.steps[0].casefold().split()[-1] for path in chosen if path.kind == "positive"} == {"a", "other"}


def test_the_split_has_about_its_share_and_depends_on_the_seed() -> None:
    names = [f"p{number}" for number in range(2000)]
    dev = {name for name in names if in_dev(0, name, 0.1)}
    assert 140 < len(dev) < 260
    assert dev != {name for name in names if in_dev(1, name, 0.1)}
    assert not any(in_dev(0, name, 0) for name in names)
    assert all(in_dev(0, name, 1) for name in names)


policies = st.builds(ToyPolicy, error=st.floats(0.05, 0.5), wrong_answer=st.floats(0, 0.3), wordings=st.integers(1, 2))
limits = st.builds(Annotation, k=st.integers(1, 6), max_searches=st.integers(1, 20), max_rollouts=st.integers(20, 120))


@settings(max_examples=80, deadline=None)
@given(policies, limits, st.integers(0, 500))
def test_a_prefix_of_a_right_solution_is_never_labelled_wrong(
    policy: ToyPolicy, limit: Annotation, number: int
) -> None:
    problem = toy_problem(number)
    tree, _ = grow(problem, limit, policy, ExactGrader(undecided=[str(int(problem.answer) + 2)]))
    evidence = evidence_of(tree)
    negatives, _ = evidence.negatives()
    right = {p.steps[:i] for p in evidence.positives() for i in range(len(p.steps) + 1)}
    for path in negatives + evidence.positives():
        label = evidence.label(path)
        markers = len(path.steps) + (path.answer is not None)
        assert all(len(column) == markers for column in label.values())
        for length, hard in enumerate(label["hard"][: len(path.steps)], start=1):
            assert (hard == 1) == (path.steps[:length] in right)
        zeros = [place for place, hard in enumerate(label["hard"]) if hard == 0]
        assert zeros == ([] if path.kind == "positive" else [markers - 1])
        for n_correct, n_rollouts, source in zip(
            label["n_correct"], label["n_rollouts"], label["label_source"], strict=True
        ):
            assert (n_rollouts is None) == (n_correct is None) == (source == "implied")
            assert n_rollouts is None or 0 <= n_correct <= n_rollouts <= limit.k
        for hard, n_correct in zip(label["hard"], label["n_correct"], strict=True):
            assert n_correct is None or hard == int(n_correct > 0), "soft and hard never contradict each other"


@settings(max_examples=40, deadline=None)
@given(policies, st.integers(0, 500))
def test_positive_markers_of_a_policy_that_never_repairs_errors_are_true(policy: ToyPolicy, number: int) -> None:
    evidence = evidence_of(grow(toy_problem(number), Annotation(k=6, max_rollouts=120), policy)[0])
    for path in evidence.positives():
        assert all(map(step_is_right, path.steps))
    for path in evidence.negatives()[0]:
        assert all(map(step_is_right, path.steps[:-1]))


def test_the_shards_do_not_show_in_the_paths(tmp_path: Path) -> None:
    for count in (1, 2, 5):
        stage(tmp_path / str(count), count)
    for name in ("paths.parquet", "statistics.json"):
        assert len({(tmp_path / str(count) / name).read_bytes() for count in (1, 2, 5)}) == 1


def test_all_paths_of_a_problem_are_in_one_split_and_paths_are_unique(tmp_path: Path) -> None:
    table, _ = stage(tmp_path, labels={"dev_share": 0.3})
    splits: dict[str, set[str]] = {}
    for row in table:
        splits.setdefault(row["problem_id"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert {split for found in splits.values() for split in found} == {"train", "dev"}
    assert len({row["path_id"] for row in table}) == len(table)
    assert {row["source"] for row in table} == {"toy"}


def test_the_statistics_count_what_the_table_holds(tmp_path: Path) -> None:
    table, statistics = stage(tmp_path)
    assert statistics["paths"] == len(table) == sum(statistics["paths_by_kind"].values())
    assert statistics["problems"] == 30 == sum(statistics["statuses"].values())
    assert statistics["markers"] == sum(len(row["hard"]) for row in table)
    assert statistics["markers"] == sum(statistics["markers_by_label_source"].values())
    assert sum(place["nodes"] for place in statistics["mc_histogram"]) == statistics["nodes"]
    assert statistics["rollouts"] == statistics["nodes"] * 6
    assert 0 < statistics["hard_positive_share"] < 1


def test_a_problem_in_two_shards_is_refused(tmp_path: Path) -> None:
    stage(tmp_path)
    shard, seeds = tmp_path / "0-of-1", tmp_path / "seeds.parquet"
    with pytest.raises(UserError, match="delete the stale one"):
        gather_labels(toy_config(), seeds, [shard, shard], tmp_path / "o", tmp_path / "s", PLAIN)


def test_where_no_tree_gives_a_path_the_stage_says_why_and_leaves_no_table(tmp_path: Path) -> None:
    stage(tmp_path)
    shard, seeds, out = tmp_path / "0-of-1", tmp_path / "seeds.parquet", tmp_path / "o"
    tables.write(shard / "nodes.parquet", [], schemas.NODES)
    tables.write(shard / "rollouts.parquet", [], schemas.ROLLOUTS)
    with pytest.raises(UserError, match=r"no path, so there is nothing to train on: .*annotation.k"):
        gather_labels(toy_config(), seeds, [shard], out, tmp_path / "s", PLAIN)
    assert not out.exists()
