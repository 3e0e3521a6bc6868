"""Seed rollouts: the same table whatever the shards, with no problem left out, and no more rollouts than needed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from scripted_engine import ScriptedEngine, ToyPolicy, toy_problem
from toy_world import policy_folder, rows, toy_config

from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, write_problems
from mmprm.data.shards import Shard
from mmprm.engine.base import Request
from mmprm.evaluation.sample_candidates import sample_candidates
from mmprm.experiments.blank_image import blanked
from mmprm.model.step_text import render_solution
from mmprm.runtime.errors import UserError
from mmprm.seeds.sample import sample_seeds

CONFIG = toy_config()
POLICY = ToyPolicy(garbage=0.2, wordings=3)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return policy_folder(tmp_path / "policy")


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    write_problems(tmp_path / "problems.parquet", [toy_problem(number) for number in range(15)])
    return tmp_path / "problems.parquet"


def test_seed_rollouts_have_their_attempts_and_other_draws_than_candidates(
    tmp_path: Path, policy: Path, problems: Path
) -> None:
    engine = ScriptedEngine(POLICY)
    config = toy_config(seeds={"sources": ["toy"], "rollouts": CONFIG.bench.n})
    sample_seeds(config, policy, [problems], Shard(), tmp_path / "w", tmp_path / "seeds.parquet", lambda: engine)
    seeds = rows(tmp_path / "seeds.parquet")
    assert [row["attempt"] for row in seeds[:6]] == [0, 1, 2, 3, 4, 0]
    out = tmp_path / "candidates.parquet"
    sample_candidates(CONFIG, "toy", policy, problems, Shard(), tmp_path / "w", out, lambda: ScriptedEngine(POLICY))
    others = rows(out)
    assert [row["text"] for row in seeds] != [row["text"] for row in others]
    assert tables.read(tmp_path / "seeds.parquet", schemas.SEED_ROLLOUTS).num_rows == len(seeds)


def test_an_id_that_occurs_twice_is_named(tmp_path: Path, policy: Path, problems: Path) -> None:
    write_problems(tmp_path / "more.parquet", [toy_problem(4), toy_problem(99)])
    engine = ScriptedEngine(POLICY)
    with pytest.raises(UserError, match="'toy-0004'"):
        sample_seeds(
            CONFIG, policy, [problems, tmp_path / "more.parquet"], Shard(), tmp_path, tmp_path / "o", lambda: engine
        )


def sampled(folder: Path, policy: Path, problems: Path, engine: ScriptedEngine, count: int = 1, **seeds) -> list[dict]:
    """The seed rollouts of all shards, with the journal in folder/work."""
    config = toy_config(seeds={"sources": ["toy"], "rollouts": 12, **seeds}, engine={"open_problems": 4})
    outs = [folder / f"{index}-of-{count}.parquet" for index in range(count)]
    for index, out in enumerate(outs):
        blank = blanked if config.seeds.blank_image else None
        sample_seeds(config, policy, [problems], Shard(index, count), folder / "work", out, lambda: engine, blank)
    return rows(*outs)


def test_an_adaptive_stop_draws_the_first_of_the_same_rollouts(tmp_path: Path, policy: Path, problems: Path) -> None:
    whole = sampled(tmp_path / "whole", policy, problems, ScriptedEngine(POLICY))
    texts = {(row["problem_id"], row["attempt"]): row for row in whole}
    for block in (1, 2, 5):
        found = sampled(tmp_path / str(block), policy, problems, ScriptedEngine(POLICY), adaptive=True, block=block)
        assert len(found) < len(whole)
        assert all(row == texts[row["problem_id"], row["attempt"]] for row in found)
        for name in {row["problem_id"] for row in whole}:
            verdicts = [row["verdict"] == "correct" for row in found if row["problem_id"] == name]
            # None more than the block in which the first right or the first wrong one came.
            assert len(verdicts) == 12 or len(set(verdicts[: (len(verdicts) - 1) // block * block])) <= 1
            assert len(verdicts) == 12 or len(set(verdicts)) == 2


def test_an_adaptive_stop_depends_on_neither_shards_nor_the_order_of_work(
    tmp_path: Path, policy: Path, problems: Path
) -> None:
    bounds = {"adaptive": True, "block": 3, "min_pass_rate": 0.25, "max_pass_rate": 0.75, "stop_confidence": 0.8}
    found = [
        sampled(tmp_path / str(count), policy, problems, ScriptedEngine(POLICY, shuffle=count), count, **bounds)
        for count in (1, 2, 5)
    ]
    assert found[0] == found[1] == found[2]


def test_every_problem_has_its_first_block_before_any_has_its_second(
    tmp_path: Path, policy: Path, problems: Path
) -> None:
    asked = []

    def note(request: Request) -> None:
        asked.append(request.problem.problem_id)

    sampled(tmp_path, policy, problems, ScriptedEngine(POLICY, fail=note, at_once=1), adaptive=True, block=2)
    assert len(set(asked[:15])) == 15 < len(asked)


def test_more_rollouts_and_another_bound_reuse_all_blocks_that_were_drawn(
    tmp_path: Path, policy: Path, problems: Path
) -> None:
    first, more = ScriptedEngine(POLICY), ScriptedEngine(POLICY)
    few = sampled(tmp_path, policy, problems, first, adaptive=True, block=4, max_pass_rate=0.5)
    many = sampled(tmp_path, policy, problems, more, 2, adaptive=True, block=4, rollouts=20)
    assert not set(first.sampled) & set(more.sampled)
    again = ScriptedEngine(POLICY)
    assert sampled(tmp_path, policy, problems, again, adaptive=True, block=4, max_pass_rate=0.5) == few != many
    assert not again.sampled


def test_a_problem_that_fails_in_a_later_block_keeps_what_was_drawn(
    tmp_path: Path, policy: Path, problems: Path
) -> None:
    asked = []

    def fail(request: Request) -> str | None:
        asked.append(request.problem.problem_id)
        return "out of memory" if asked.count("toy-0003") == 2 and request.problem.problem_id == "toy-0003" else None

    silent = ToyPolicy(error=1.0)  # never right: all is drawn
    table = sampled(tmp_path, policy, problems, ScriptedEngine(silent, fail=fail), adaptive=True, block=5)
    failed = [row["finish_reason"] for row in table if row["problem_id"] == "toy-0003"]
    assert failed == ["stop"] * 5 + ["error"] * 7
    assert len(table) == 15 * 12 and sum(row["finish_reason"] == "error" for row in table) == 7


def test_blank_pictures_are_tried_of_problems_that_would_be_kept(
    tmp_path: Path, policy: Path, mini_problems: list[Problem]
) -> None:
    def guess(problem: Problem, prefix: tuple[str, ...], rng: random.Random) -> str:
        number = [one.problem_id for one in pool].index(problem.problem_id)
        right = rng.random() < (0.0, 0.5, 1.0, 0.0, 0.5, 1.0, 0.5)[number]
        return render_solution(["so"], problem.answer if right else "nothing")

    pool = [*mini_problems[:6], toy_problem(1)]  # the last one has no picture
    write_problems(tmp_path / "drawn.parquet", pool)
    for adaptive in (False, True):
        options = {"adaptive": adaptive, "blank_image": "flag"}
        table = sampled(tmp_path / str(adaptive), policy, tmp_path / "drawn.parquet", ScriptedEngine(guess), **options)
        tried = {row["problem_id"] for row in table if row["blank"]}
        assert tried == {mini_problems[1].problem_id, mini_problems[4].problem_id}
        for name in tried:  # drawn to the end, with and without
            for blank in (False, True):
                own = [row["attempt"] for row in table if row["problem_id"] == name and row["blank"] == blank]
                assert own == list(range(12))
