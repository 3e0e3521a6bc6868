"""The weight of a source: how often its problems are in an epoch of policy training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from mmprm.config.overlap import weights_of
from mmprm.config.sources import Source
from mmprm.data.problem import Problem, write_problems
from mmprm.runtime.errors import UserError
from mmprm.training import policy_examples, train_policy

POOL = [Problem(f"pool/{number}", "pool", "q", "1") for number in range(2000)]


@given(st.floats(0.01, 4), st.integers(0, 3))
def test_a_weight_is_the_mean_number_of_times_and_a_heavier_one_takes_each_no_less_often(
    weight: float, seed: int
) -> None:
    times = [policy_examples.times_repeated(problem, {"pool": weight}, seed) for problem in POOL[:400]]
    assert {int(weight), int(weight) + 1} >= set(times)
    assert sum(times) / 400 == pytest.approx(weight, abs=0.12)  # more than four standard errors
    heavier = [policy_examples.times_repeated(problem, {"pool": weight + 0.3}, seed) for problem in POOL[:400]]
    assert all(more >= less for more, less in zip(heavier, times, strict=True))


def test_whole_weights_choose_nothing_and_a_fraction_is_chosen_by_the_seed_and_the_id() -> None:
    assert {policy_examples.times_repeated(problem, {"other": 3.0}, 0) for problem in POOL} == {1}
    assert {policy_examples.times_repeated(problem, {"pool": 3.0}, 0) for problem in POOL} == {3}
    half = [[policy_examples.times_repeated(problem, {"pool": 0.5}, seed) for problem in POOL] for seed in (0, 0, 1)]
    assert half[0] == half[1] != half[2]
    both = sum(one == other == 1 for one, other in zip(half[0], half[2], strict=True))
    assert both / len(POOL) == pytest.approx(0.25, abs=0.05), "seeds choose independently"


def test_weights_are_those_of_the_sources_that_are_read_also_for_derived_ones() -> None:
    values: dict[str, Any] = {
        "drawn": {"kind": "mini", "split": "sft", "size": 1, "families": ["bars"], "weight": 0.5},
        "pool": {"kind": "table", "path": "pool.jsonl", "weight": 3},
        "plain": {"kind": "conversations", "path": "turns.jsonl"},
        "unused": {"kind": "table", "path": "other.jsonl", "weight": 7},
        "kept": {"kind": "curated", "sources": ["pool", "plain"]},
        "sft": {"kind": "tagged", "sources": ["kept"]},
    }
    sources = {name: TypeAdapter(Source).validate_python(value) for name, value in values.items()}
    assert weights_of(sources, ["sft", "drawn"]) == {"pool": 3.0, "drawn": 0.5}
    assert weights_of(sources, ["plain"]) == {}


@pytest.mark.slow
def test_the_policy_is_trained_on_each_problem_as_often_as_its_source_weighs(
    mini_problems: list[Problem], training_config: Any, tmp_path: Path
) -> None:
    # As a derived source's table has them: problems of two sources.
    rows = [replace(row, source="mini" if at < 4 else "test") for at, row in enumerate(mini_problems)]
    raw = replace(rows[0], problem_id="mini/raw", solution="First, a. Then \\boxed{3}.")
    write_problems(tmp_path / "sft.parquet", [*rows, raw])
    config = training_config(intake={"max_refused_share": 0.3}, max_steps=1)
    sources = {name: source.model_copy(update={"weight": 2.0}) for name, source in config.sources.items()}
    config = config.model_copy(update={"sources": sources})
    assert config.policy_weights == {"mini": 2.0}, "test is no source of the policy"
    train_policy.train_policy(config, [tmp_path / "sft.parquet"], tmp_path / "work", tmp_path / "out")
    info = json.loads((tmp_path / "out" / "manifest.json").read_text())["info"]
    assert info["examples"] == 4 * 2 + (len(rows) - 4) and info["config"]["weights"] == {"mini": 2.0}
    (refused,) = json.loads((tmp_path / "out" / "refused.json").read_text())
    assert (
        refused["problem_id"] == "mini/raw" and "a source of kind tagged puts a raw one into steps" in refused["detail"]
    )

    light = {name: source.model_copy(update={"weight": 1e-9}) for name, source in config.sources.items()}
    one_source = tmp_path / "one.parquet"
    write_problems(one_source, rows[:4])
    with pytest.raises(UserError, match=r"weights \{'mini': 1e-09\} leave none of 4 rows"):
        train_policy.train_policy(
            config.model_copy(update={"sources": light}), [one_source], tmp_path / "w", tmp_path / "o"
        )
