"""The plan: what it says of the annotation's cost, and that it is not paid twice."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from scripted_engine import ScriptedEngine, ToyPolicy, toy_problem
from toy_world import policy_folder, rows, toy_config

from mmprm.annotation.annotate import annotate
from mmprm.annotation.plan import draw, plan, times, total
from mmprm.data.problem import write_problems
from mmprm.data.shards import Shard
from mmprm.engine.base import Request
from mmprm.runtime.errors import UserError

POLICY = ToyPolicy(garbage=0.05)
TIMES = ("tokens_per_second", "startup_seconds", "device_hours", "hours_by_shards")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return policy_folder(tmp_path / "policy")


def write_seeds(folder: Path, n: int) -> Path:
    """Sums of 3 to 12 numbers: their searches differ much in length."""
    write_problems(folder / "seeds.parquet", [toy_problem(number, 3 + number % 10) for number in range(n)])
    return folder / "seeds.parquet"


def config_of(n: int, **sections: Any):
    return toy_config(plan={"problems": n}, **sections)


def planned(folder: Path, policy: Path, seeds: Path, n: int, toy: ScriptedEngine, **sections: Any) -> dict[str, Any]:
    plan(config_of(n, **sections), policy, seeds, folder / "work", folder / "plan.json", lambda: toy)
    return json.loads((folder / "plan.json").read_text())


def annotated(folder: Path, policy: Path, seeds: Path, engine: ScriptedEngine, **sections: Any) -> list[list[dict]]:
    out = folder / "annotation"
    annotate(config_of(2, **sections), policy, seeds, Shard(), folder / "work", out, lambda: engine)
    return [rows(out / f"{name}.parquet") for name in ("nodes", "rollouts", "status")]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("toy", [ToyPolicy(error=0.03), ToyPolicy(error=0.15), ToyPolicy(error=0.4, garbage=0.2)])
def test_the_true_cost_lies_in_the_range(tmp_path: Path, policy: Path, toy: ToyPolicy, seed: int) -> None:
    seeds = write_seeds(tmp_path, 120)
    found = planned(tmp_path, policy, seeds, 16, ScriptedEngine(toy), seed=seed)
    _, _, status = annotated(tmp_path, policy, seeds, ScriptedEngine(toy), seed=seed)
    for name, column in (("rollouts", "n_rollouts"), ("tokens", "n_tokens")):
        truth, cost = sum(row[column] for row in status), found[name]
        assert cost["low"] <= truth <= cost["high"] <= cost["at_most"]
        assert cost["low"] < cost["mean"] < cost["high"]
        # It says more than the budget and the sample do: of 120 problems at most 120 rollouts each.
        assert cost["high"] - cost["low"] < 0.9 * (cost["at_most"] - found[f"sampled_{name}"])


@pytest.mark.parametrize("toy", [ToyPolicy(error=0.03), ToyPolicy(error=0.15), ToyPolicy(error=0.4)])
def test_of_many_samples_about_95_of_100_give_a_range_that_holds(tmp_path: Path, policy: Path, toy: ToyPolicy) -> None:
    _, _, status = annotated(tmp_path, policy, write_seeds(tmp_path, 120), ScriptedEngine(toy))
    rng = random.Random(0)
    for column in ("n_rollouts", "n_tokens"):
        known = [row[column] for row in status]
        per_rollout = sum(known) / sum(row["n_rollouts"] for row in status)
        ranges = [total(rng.sample(known, 16), 120, (6 * per_rollout, 120 * per_rollout), 10**6) for _ in range(400)]
        # Two standard errors of 400 draws below 95 %.
        assert sum(found.low <= sum(known) <= found.high for found in ranges) >= 0.93 * len(ranges)


def test_the_annotation_samples_only_what_the_plan_did_not(tmp_path: Path, policy: Path) -> None:
    seeds = write_seeds(tmp_path, 20)
    whole = ScriptedEngine(POLICY)
    expected = annotated(tmp_path / "whole", policy, seeds, whole)
    before, after = ScriptedEngine(POLICY), ScriptedEngine(POLICY)
    found = planned(tmp_path, policy, seeds, 8, before)
    assert annotated(tmp_path, policy, seeds, after) == expected
    assert not set(before.sampled) & set(after.sampled)
    assert sorted(before.sampled + after.sampled) == sorted(whole.sampled)
    assert found["sampled_rollouts"] == before.stats.completions > 0


def test_a_larger_plan_samples_only_what_it_adds(tmp_path: Path, policy: Path) -> None:
    seeds = write_seeds(tmp_path, 20)
    first, second = ScriptedEngine(POLICY), ScriptedEngine(POLICY)
    small = planned(tmp_path, policy, seeds, 6, first)
    large = planned(tmp_path, policy, seeds, 12, second)
    assert not set(first.sampled) & set(second.sampled)
    assert large["replayed_rollouts"] == small["sampled_rollouts"] < large["sampled_rollouts"]
    ids = [f"toy-{number}" for number in range(50)]
    assert set(draw(ids, 5, 0)) < set(draw(reversed(ids), 9, 0))
    assert draw(ids, 9, 0) != draw(ids, 9, 1)


def test_the_plan_depends_on_no_order_of_work(tmp_path: Path, policy: Path) -> None:
    seeds = write_seeds(tmp_path, 20)
    one = planned(tmp_path / "a", policy, seeds, 8, ScriptedEngine(POLICY))
    other = planned(tmp_path / "b", policy, seeds, 8, ScriptedEngine(POLICY, shuffle=3, at_once=2))
    assert {key: one[key] for key in one if key not in TIMES} == {key: other[key] for key in other if key not in TIMES}


def test_with_fewer_seeds_than_the_sample_the_cost_is_known(tmp_path: Path, policy: Path) -> None:
    seeds = write_seeds(tmp_path, 5)
    found = planned(tmp_path, policy, seeds, 24, ScriptedEngine(POLICY))
    engine = ScriptedEngine(POLICY)
    _, _, status = annotated(tmp_path, policy, seeds, engine)
    assert not engine.sampled
    assert found["problems"] == found["sampled_problems"] == 5
    for name, column in (("rollouts", "n_rollouts"), ("tokens", "n_tokens")):
        assert set(found[name].values()) == {sum(row[column] for row in status)}


def test_without_seeds_the_annotation_costs_nothing(tmp_path: Path, policy: Path) -> None:
    found = planned(tmp_path, policy, write_seeds(tmp_path, 0), 4, ScriptedEngine(POLICY))
    assert found["rollouts"] == {"mean": 0, "low": 0, "high": 0, "at_most": 0}
    assert found["device_hours"] is None


def test_problems_that_fail_are_counted_and_too_many_stop_the_plan(tmp_path: Path, policy: Path) -> None:
    seeds = write_seeds(tmp_path, 60)

    def fail(request: Request) -> str | None:
        return "the image is broken" if int(request.problem.problem_id[-4:]) % 4 == 0 else None

    found = planned(tmp_path, policy, seeds, 30, ScriptedEngine(POLICY, fail=fail))
    assert 0 < found["failed_problems"] < 15
    _, _, status = annotated(tmp_path, policy, seeds, ScriptedEngine(POLICY, fail=fail))
    assert found["rollouts"]["low"] <= sum(row["n_rollouts"] for row in status) <= found["rollouts"]["high"]

    broken = ScriptedEngine(POLICY, fail=lambda request: "no such model")
    with pytest.raises(UserError, match="30 of 30 problems failed"):
        planned(tmp_path / "other", policy, seeds, 30, broken)
    assert not (tmp_path / "other/plan.json").exists()


def test_a_second_plan_keeps_the_first_ones_measurement(tmp_path: Path, policy: Path) -> None:
    seeds = write_seeds(tmp_path, 20)
    first = planned(tmp_path, policy, seeds, 8, ScriptedEngine(POLICY))
    (tmp_path / "plan.json").unlink()  # as Snakemake does before it makes it again
    engine = ScriptedEngine(POLICY)
    again = planned(tmp_path, policy, seeds, 8, engine)
    assert not engine.sampled
    assert again["tokens_per_second"] == first["tokens_per_second"] > 0
    assert again["device_hours"] == first["device_hours"]


def test_what_was_not_measured_is_said_to_be_unknown(
    tmp_path: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = write_seeds(tmp_path, 20)
    annotated(tmp_path, policy, seeds, ScriptedEngine(POLICY))
    found = planned(tmp_path, policy, seeds, 8, ScriptedEngine(POLICY))
    assert found["replayed_rollouts"] == found["sampled_rollouts"] > 0
    assert found["tokens_per_second"] is found["device_hours"] is found["hours_by_shards"] is None
    assert "device-hours  unknown" in capsys.readouterr().out
    planned(tmp_path / "b", policy, seeds, 8, ScriptedEngine(POLICY))
    other_engine = planned(tmp_path / "b", policy, seeds, 8, ScriptedEngine(POLICY), engine={"max_running": 7})
    assert other_engine["device_hours"] is None  # the earlier rate was that of other settings


def test_hours_follow_from_tokens_rate_start_up_and_devices() -> None:
    measured = {
        "device": "a GPU",
        "seconds": 110.0,
        "startup_seconds": 10.0,
        "generated_tokens": 100_000,
        "completions": 1000,
        "prompt_tokens": 50_000,
        "cached_prompt_tokens": 40_000,
        "steps": 1000,
    }
    tokens = {"mean": 3_600_000, "low": 1_800_000, "high": 7_200_000, "at_most": 10_000_000}
    ids = [f"toy-{number}" for number in range(4000)]
    config = toy_config(engine={"tensor_parallel": 2}, shards={"annotation": 3})
    found = times(config, tokens, ids, measured)
    assert (found["tokens_per_second"], found["mean_batch"], found["cached_prompt_share"]) == (1000, 100, 0.8)
    start = 3 * 10 / 3600  # a start-up a shard
    assert found["device_hours"]["mean"] == pytest.approx(2 * (1 + start), abs=1e-4)
    assert found["device_hours"]["high"] == pytest.approx(2 * (2 + start), abs=1e-4)
    by_shards = found["hours_by_shards"]
    assert list(by_shards) == ["1", "2", "3", "4", "8"]
    assert by_shards["1"] == pytest.approx(1 + 10 / 3600, abs=1e-4)
    server = toy_config(engine={"kind": "server", "url": "http://localhost:8000/v1"}, shards={"annotation": 3})
    assert list(times(server, tokens, ids, measured)["hours_by_shards"]) == ["1"]  # more shards make it no faster
    assert 1 / 8 < by_shards["8"] - 10 / 3600 < 1.15 / 8  # the largest shard ends last
