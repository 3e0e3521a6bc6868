"""Candidates: the same table whatever the shards, with no problem left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scripted_engine import ScriptedEngine, ToyPolicy, toy_problem
from toy_world import policy_folder, rows, toy_config

from mmprm.data.problem import write_problems
from mmprm.data.shards import Shard
from mmprm.engine.base import Request
from mmprm.evaluation.sample_candidates import gather_candidates, sample_candidates
from mmprm.runtime.errors import UserError

CONFIG = toy_config()
POLICY = ToyPolicy(garbage=0.2, wordings=3)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return policy_folder(tmp_path / "policy")


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    write_problems(tmp_path / "problems.parquet", [toy_problem(number) for number in range(15)])
    return tmp_path / "problems.parquet"


def candidates(folder: Path, policy: Path, problems: Path, count: int, engine: ScriptedEngine) -> Path:
    outs = []
    for index in range(count):
        shard = Shard(index, count)
        out = folder / f"{shard}.parquet"
        sample_candidates(CONFIG, "toy", policy, problems, shard, folder / "work", out, lambda: engine)
        outs.append(out)
    gather_candidates(outs[::-1], folder / f"{count}.parquet")
    return folder / f"{count}.parquet"


def test_one_two_and_five_shards_give_the_same_candidates(tmp_path: Path, policy: Path, problems: Path) -> None:
    """Defect 10: sampling was unseeded."""
    texts = {
        candidates(tmp_path / str(count), policy, problems, count, ScriptedEngine(POLICY, shuffle=count)).read_bytes()
        for count in (1, 2, 5)
    }
    assert len(texts) == 1


def test_every_problem_has_all_its_candidates(tmp_path: Path, policy: Path, problems: Path) -> None:
    table = rows(candidates(tmp_path, policy, problems, 2, ScriptedEngine(POLICY)))
    assert [(r["problem_id"], r["candidate"]) for r in table] == [
        (f"toy-{number:04d}", candidate) for number in range(15) for candidate in range(CONFIG.bench.n)
    ]
    for row in table:
        assert (row["verdict"] == "unparsed") == (row["status"] != "ok")
    assert {row["verdict"] for row in table} == {"correct", "incorrect", "unparsed"}


def test_another_run_with_the_same_policy_samples_nothing_where_runs_share_a_cache(
    tmp_path: Path, policy: Path, problems: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMPRM_CACHE", str(tmp_path / "cache"))
    first = candidates(tmp_path / "one", policy, problems, 2, ScriptedEngine(POLICY)).read_bytes()
    engine = ScriptedEngine(POLICY)
    assert candidates(tmp_path / "two", policy, problems, 1, engine).read_bytes() == first
    assert not engine.sampled
    other = policy_folder(tmp_path / "other", '{"other": 1}')
    candidates(tmp_path / "three", other, problems, 1, engine)
    assert len(engine.sampled) > 0


def test_a_finished_shard_is_sampled_from_its_journal(tmp_path: Path, policy: Path, problems: Path) -> None:
    first = candidates(tmp_path, policy, problems, 2, ScriptedEngine(POLICY)).read_bytes()
    engine = ScriptedEngine(POLICY)
    assert candidates(tmp_path, policy, problems, 1, engine).read_bytes() == first
    assert not engine.sampled
    usage = json.loads((tmp_path / "0-of-1.parquet.usage.json").read_text())
    assert (usage["completions"], usage["replayed_completions"]) == (0, 15 * CONFIG.bench.n)


def test_a_problem_whose_request_failed_keeps_its_rows_and_they_say_so(
    tmp_path: Path, policy: Path, problems: Path
) -> None:
    def fail(request: Request) -> str | None:
        return "the prompt is too long" if request.problem.problem_id == "toy-0003" else None

    table = rows(candidates(tmp_path, policy, problems, 1, ScriptedEngine(POLICY, fail=fail)))
    failed = [row for row in table if row["problem_id"] == "toy-0003"]
    assert len(failed) == CONFIG.bench.n
    assert {(row["status"], row["verdict"], row["finish_reason"]) for row in failed} == {("empty", "unparsed", "error")}
    assert sum(row["finish_reason"] == "error" for row in table) == CONFIG.bench.n


def test_an_engine_that_fails_most_problems_ends_the_stage_without_a_table(
    tmp_path: Path, policy: Path, problems: Path
) -> None:
    broken = ScriptedEngine(POLICY, fail=lambda request: "out of memory")
    with pytest.raises(UserError, match="15 of 15 problems failed; first toy-0000: out of memory"):
        candidates(tmp_path, policy, problems, 1, broken)
    assert not list(tmp_path.glob("*-of-*.parquet"))


def test_gathering_a_shard_twice_is_refused(tmp_path: Path, policy: Path, problems: Path) -> None:
    path = candidates(tmp_path, policy, problems, 1, ScriptedEngine(POLICY))
    with pytest.raises(UserError, match="give each shard once"):
        gather_candidates([path, path], tmp_path / "out.parquet")
