"""Which problems become seeds, and the reason of each one that does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scripted_engine import toy_problem
from toy_world import rows, toy_config

from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, read_problems, write_problems
from mmprm.experiments.blank_image import BlankImageComparison
from mmprm.runtime.errors import UserError
from mmprm.seeds.select import select_seeds

VERDICTS = {
    "some": ["correct", "incorrect", "unparsed", "incorrect"],
    "one_right": ["correct", "unparsed", "unparsed", "unparsed"],
    "all": ["correct"] * 4,
    "none": ["incorrect", "unparsed", "incorrect", "incorrect"],
    "perhaps_none": ["incorrect", "undecided", "incorrect", "incorrect"],
    "perhaps_all": ["correct", "correct", "correct", "undecided"],
    "some_and_undecided": ["correct", "undecided", "incorrect", "undecided"],
    "no_verdict": ["undecided"] * 4,
}


def problem(name: str) -> Problem:
    return Problem(problem_id=name, source="toy", question="?", answer="1")


def rollout(name: str, attempt: int, verdict: str, finish_reason: str = "stop", blank: bool = False) -> dict:
    row = dict.fromkeys(schemas.SEED_ROLLOUTS.names) | {"steps": [], "finish_reason": finish_reason}
    return row | {"problem_id": name, "blank": blank, "attempt": attempt, "verdict": verdict, "n_tokens": 10}


def select(folder: Path, verdicts: dict[str, list[str]], max_seeds: int | None = None, **options) -> dict[str, dict]:
    write_problems(folder / "p.parquet", [problem(name) for name in verdicts] + options.get("more", []))
    table = [rollout(name, i, verdict) for name, given in verdicts.items() for i, verdict in enumerate(given)]
    table += options.get("rollouts", [])
    tables.write(folder / "r0.parquet", table[::2], schemas.SEED_ROLLOUTS)
    tables.write(folder / "r1.parquet", table[1::2], schemas.SEED_ROLLOUTS)
    settings = {"sources": ["toy"], "max_seeds": max_seeds, **options.get("settings", {})}
    config = toy_config(seeds=settings, seed=options.get("seed", 0))
    shards = [folder / "r0.parquet", folder / "r1.parquet"]
    outs = [folder / name for name in ("seeds.parquet", "decisions.parquet", "statistics.json")]
    select_seeds(config, [folder / "p.parquet"], shards, *outs, BlankImageComparison(config.seeds))
    decisions = {row["problem_id"]: row for row in rows(folder / "decisions.parquet")}
    kept = [one.problem_id for one in read_problems(folder / "seeds.parquet")]
    assert kept == [name for name, row in decisions.items() if row["kept"]]
    return decisions


def test_every_problem_has_a_decision_with_its_reason(tmp_path: Path) -> None:
    decisions = select(tmp_path, VERDICTS)
    assert {name: row["reason"] for name, row in decisions.items()} == {
        "some": "kept",
        "one_right": "kept",
        "all": "all_right",
        "none": "none_right",
        "perhaps_none": "undecided",
        "perhaps_all": "undecided",
        "some_and_undecided": "kept",
        "no_verdict": "undecided",
    }
    assert all(row["kept"] == (row["reason"] == "kept") for row in decisions.values())


def test_the_counts_are_those_of_the_rollouts_and_undecided_ones_are_not_counted_as_wrong(tmp_path: Path) -> None:
    row = select(tmp_path, VERDICTS)["some_and_undecided"]
    assert [row[name] for name in ("n_rollouts", "n_correct", "n_unparsed", "n_undecided")] == [2, 1, 0, 2]
    row = select(tmp_path, VERDICTS)["some"]
    assert [row[name] for name in ("n_rollouts", "n_correct", "n_unparsed", "n_undecided")] == [4, 1, 1, 0]


def test_a_problem_whose_sampling_failed_or_that_was_not_sampled_is_failed(tmp_path: Path) -> None:
    decisions = select(
        tmp_path,
        {"some": ["correct", "incorrect"]},
        more=[problem("broken"), problem("absent")],
        rollouts=[rollout("broken", 0, "unparsed", "error")],
    )
    assert {name: row["reason"] for name, row in decisions.items()} == {
        "some": "kept",
        "broken": "failed",
        "absent": "failed",
    }


def test_above_the_limit_a_hash_of_the_seed_chooses(tmp_path: Path) -> None:
    many = {f"p{number}": ["correct", "incorrect"] for number in range(30)}
    kept = []
    for seed in (0, 0, 1):
        decisions = select(tmp_path, many | {"none": ["incorrect"]}, max_seeds=10, seed=seed)
        assert [row["reason"] for row in decisions.values()].count("over_limit") == 20
        kept.append({name for name, row in decisions.items() if row["kept"]})
    assert kept[0] == kept[1] != kept[2]
    assert select(tmp_path, many, max_seeds=11)  # a larger limit keeps what a smaller one kept
    assert kept[0] < {name for name, row in select(tmp_path, many, max_seeds=11).items() if row["kept"]}


def test_duplicate_ids_over_sources_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_problems(tmp_path / name, [toy_problem(1)])
    tables.write(tmp_path / "r", [], schemas.SEED_ROLLOUTS)
    with pytest.raises(UserError, match="'toy-0001'"):
        select_seeds(
            toy_config(), [tmp_path / "a", tmp_path / "b"], [tmp_path / "r"], *(tmp_path / out for out in "sdt")
        )


def with_(right: int, wrong: int) -> list[str]:
    return ["correct"] * right + ["incorrect"] * wrong


def test_bounds_on_the_pass_rate_are_inclusive_and_name_the_side(tmp_path: Path) -> None:
    verdicts = {f"p{right}": with_(right, 10 - right) for right in range(11)}
    settings = {"rollouts": 10, "min_pass_rate": 0.3, "max_pass_rate": 0.7}
    decisions = select(tmp_path, verdicts, settings=settings)
    assert [decisions[f"p{right}"]["reason"] for right in range(11)] == [
        "none_right",
        *["too_hard"] * 2,
        *["kept"] * 5,
        *["too_easy"] * 2,
        "all_right",
    ]


def test_the_saving_of_an_adaptive_stop_is_against_all_rollouts_of_each_problem(tmp_path: Path) -> None:
    verdicts = {"clear": with_(1, 1), "late": with_(1, 5), "none": with_(0, 8), "unreadable": ["undecided"] * 8}
    settings = {"rollouts": 8, "adaptive": True, "block": 2}
    decisions = select(tmp_path, verdicts, settings=settings)
    assert {name: (row["reason"], row["stopped"]) for name, row in decisions.items()} == {
        "clear": ("kept", "certain"),
        "late": ("kept", "certain"),
        "none": ("none_right", "all_drawn"),
        "unreadable": ("undecided", "all_drawn"),
    }
    found = json.loads((tmp_path / "statistics.json").read_text())
    assert (found["rollouts"], found["tokens"]) == (24, 240)
    assert found["adaptive"] == {
        "stopped": {"all_drawn": 2, "certain": 2},
        "rollouts_of_all": 32,
        "saved_rollouts": 8,
        "saved_rollouts_share": 0.25,
        "saved_tokens_estimate": 80,
        "saved_tokens_share": 0.25,
    }
    assert found["reasons_by_source"] == {"toy": {"kept": 2, "none_right": 1, "undecided": 1}}


def test_rollouts_that_decide_nothing_are_of_other_settings(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'early' has 2 of 8 seed rollouts, and they decide nothing"):
        select(tmp_path, {"early": with_(2, 0)}, settings={"rollouts": 8, "adaptive": True})


@pytest.mark.parametrize("what", ["flag", "drop"])
def test_a_problem_that_is_solved_as_often_with_a_blank_picture_is_flagged_or_dropped(
    tmp_path: Path, what: str
) -> None:
    verdicts = {name: with_(16, 16) for name in ("guessed", "seen", "untried")} | {"none": with_(0, 32)}
    blank = {"guessed": with_(15, 17), "seen": with_(3, 29)}
    rows = [rollout(name, i, one, blank=True) for name, given in blank.items() for i, one in enumerate(given)]
    decisions = select(tmp_path, verdicts, rollouts=rows, settings={"rollouts": 32, "blank_image": what})
    reason = "image_not_needed" if what == "drop" else "kept"
    assert {name: (row["reason"], row["image_needed"]) for name, row in decisions.items()} == {
        "guessed": (reason, False),
        "seen": ("kept", True),
        "untried": ("kept", None),
        "none": ("none_right", None),
    }
    assert (decisions["seen"]["n_rollouts"], decisions["seen"]["blank_n_correct"]) == (32, 3)
    found = json.loads((tmp_path / "statistics.json").read_text())
    assert (found["rollouts"], found["adaptive"]) == (128, None)
    assert found["blank_image"] == {
        "problems": 2,
        "image_not_needed": 1,
        "rollouts": 64,
        "tokens": 640,
        "pass_rate": 0.5,
        "pass_rate_blank": 18 / 64,
    }


def test_where_no_seed_is_kept_the_stage_says_why_and_what_to_change(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"2 problems none is kept \(1 all_right, 1 none_right\).*seeds.rollouts"):
        select(tmp_path, {"all": VERDICTS["all"], "none": VERDICTS["none"]})
    assert {row["reason"] for row in rows(tmp_path / "decisions.stopped.parquet")} == {"all_right", "none_right"}
    assert not (tmp_path / "seeds.parquet").exists()
