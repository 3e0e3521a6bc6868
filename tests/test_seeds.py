"""Which problems become seeds, and the reason of each one that does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_world import rows, toy_config

from mmprm import tables
from mmprm.engine.scripted import toy_problem
from mmprm.errors import UserError
from mmprm.problem import Problem, read_problems, write_problems
from mmprm.seeds import select_seeds

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


def rollout(name: str, attempt: int, verdict: str, finish_reason: str = "stop") -> dict:
    row = dict.fromkeys(tables.SEED_ROLLOUTS.names) | {"steps": [], "finish_reason": finish_reason}
    return row | {"problem_id": name, "attempt": attempt, "verdict": verdict}


def select(folder: Path, verdicts: dict[str, list[str]], max_seeds: int | None = None, **options) -> dict[str, dict]:
    write_problems(folder / "p.parquet", [problem(name) for name in verdicts] + options.get("more", []))
    table = [rollout(name, i, verdict) for name, given in verdicts.items() for i, verdict in enumerate(given)]
    table += options.get("rollouts", [])
    tables.write(folder / "r0.parquet", table[::2], tables.SEED_ROLLOUTS)
    tables.write(folder / "r1.parquet", table[1::2], tables.SEED_ROLLOUTS)
    config = toy_config(seeds={"sources": ["toy"], "max_seeds": max_seeds}, seed=options.get("seed", 0))
    shards = [folder / "r0.parquet", folder / "r1.parquet"]
    select_seeds(config, [folder / "p.parquet"], shards, folder / "seeds.parquet", folder / "decisions.parquet")
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
    tables.write(tmp_path / "r", [], tables.SEED_ROLLOUTS)
    with pytest.raises(UserError, match="'toy-0001'"):
        select_seeds(
            toy_config(), [tmp_path / "a", tmp_path / "b"], [tmp_path / "r"], tmp_path / "seeds", tmp_path / "d"
        )
