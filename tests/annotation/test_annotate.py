"""The annotation stage, file to file: shards, restarts, accounts."""

from __future__ import annotations

import gc
import json
import weakref
from pathlib import Path
from typing import Any

import pytest
from scripted_engine import ScriptedEngine, ToyPolicy, toy_problem
from toy_world import Grading, policy_folder, rows, toy_config

from mmprm import grading
from mmprm.annotation.annotate import annotate
from mmprm.annotation.tree import Tree
from mmprm.data import schemas, tables
from mmprm.data.problem import write_problems
from mmprm.data.shards import Shard
from mmprm.engine.base import Request
from mmprm.runtime.errors import UserError

CONFIG = toy_config()
POLICY = ToyPolicy(garbage=0.05)
FILES = ("nodes", "rollouts", "status")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return policy_folder(tmp_path / "policy")


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    write_problems(tmp_path / "seeds.parquet", [toy_problem(number) for number in range(20)])
    return tmp_path / "seeds.parquet"


def run(folder: Path, policy: Path, seeds: Path, count: int, engine: ScriptedEngine, work: str = "work") -> list[Path]:
    outs = []
    for index in range(count):
        out = folder / f"annotation/{index}-of-{count}"
        annotate(CONFIG, policy, seeds, Shard(index, count), folder / work, out, lambda: engine)
        outs.append(out)
    return outs


def tables_of(outs: list[Path]) -> list[list[dict]]:
    return [rows(*(out / f"{name}.parquet" for out in outs)) for name in FILES]


def test_one_two_and_five_shards_give_the_same_tables(tmp_path: Path, policy: Path, seeds: Path) -> None:
    results = [
        tables_of(run(tmp_path / str(count), policy, seeds, count, ScriptedEngine(POLICY, shuffle=count)))
        for count in (1, 2, 5)
    ]
    assert results[0] == results[1] == results[2]
    assert len({row["problem_id"] for row in results[0][2]}) == 20


def test_another_shard_layout_resamples_nothing(tmp_path: Path, policy: Path, seeds: Path) -> None:
    first = tables_of(run(tmp_path, policy, seeds, 2, ScriptedEngine(POLICY)))
    engine = ScriptedEngine(POLICY)
    assert tables_of(run(tmp_path, policy, seeds, 5, engine)) == first
    assert not engine.sampled


def test_the_same_run_writes_the_same_bytes(tmp_path: Path, policy: Path, seeds: Path) -> None:
    (first,) = run(tmp_path / "a", policy, seeds, 1, ScriptedEngine(POLICY))
    (again,) = run(tmp_path / "b", policy, seeds, 1, ScriptedEngine(POLICY, shuffle=9))
    for name in FILES:
        assert (first / f"{name}.parquet").read_bytes() == (again / f"{name}.parquet").read_bytes()


def test_no_more_trees_are_in_memory_than_searches_are_open(
    tmp_path: Path, policy: Path, seeds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: weakref.WeakSet[Tree] = weakref.WeakSet()
    most = []
    begin, status_row = Tree.__init__, Tree.status_row

    def noted(tree: Tree, problem_id: str) -> None:
        begin(tree, problem_id)
        alive.add(tree)

    def counted(tree: Tree) -> dict[str, Any]:
        if len(alive) > 4:
            gc.collect()
        most.append(len(alive))
        return status_row(tree)

    monkeypatch.setattr(Tree, "__init__", noted)
    monkeypatch.setattr(Tree, "status_row", counted)
    few = CONFIG.model_copy(update={"engine": CONFIG.engine.model_copy(update={"open_problems": 3})})
    annotate(few, policy, seeds, Shard(), tmp_path / "work", tmp_path / "out", lambda: ScriptedEngine(POLICY))
    assert len(most) == 20
    assert max(most) <= 4  # the open ones, and the one that ends


def test_a_killed_stage_leaves_no_table_and_resumes(tmp_path: Path, policy: Path, seeds: Path) -> None:
    class Killed(BaseException):
        pass

    class Dying(ScriptedEngine):
        def step(self):
            if len(self.sampled) > 60:
                raise Killed
            return super().step()

    expected = tables_of(run(tmp_path / "whole", policy, seeds, 1, ScriptedEngine(POLICY)))
    dying = Dying(POLICY, shuffle=2)
    with pytest.raises(Killed):
        run(tmp_path, policy, seeds, 1, dying)
    assert not list((tmp_path / "annotation").rglob("*.parquet"))
    engine = ScriptedEngine(POLICY)
    outs = run(tmp_path, policy, seeds, 1, engine)
    assert tables_of(outs) == expected
    assert not set(dying.sampled) & set(engine.sampled)
    usage = json.loads((outs[0] / "usage.json").read_text())
    assert usage["replayed_completions"] == CONFIG.annotation.k * len(dying.sampled)
    assert usage["completions"] == CONFIG.annotation.k * len(engine.sampled)


def test_another_policy_or_instruction_reuses_no_draw(tmp_path: Path, policy: Path, seeds: Path) -> None:
    run(tmp_path, policy, seeds, 1, ScriptedEngine(POLICY))
    other = ScriptedEngine(POLICY)
    run(tmp_path, policy_folder(tmp_path / "other", '{"a": 1}'), seeds, 1, other)
    instructed = ScriptedEngine(POLICY)
    config = toy_config(prompt={"instruction": "Think."})
    annotate(config, policy, seeds, Shard(), tmp_path / "work", tmp_path / "x", lambda: instructed)
    moved = ScriptedEngine(POLICY)
    run(tmp_path, policy_folder(tmp_path / "elsewhere/policy"), seeds, 1, moved)
    assert len(other.sampled) == len(instructed.sampled) > 0
    assert not moved.sampled  # the same model in another folder is the same policy


def test_every_problem_has_a_status(tmp_path: Path, policy: Path, seeds: Path) -> None:
    def fail(request: Request) -> str | None:
        return "the image is broken" if request.problem.problem_id in ("toy-0002", "toy-0005") else None

    (out,) = run(tmp_path, policy, seeds, 1, ScriptedEngine(ToyPolicy(error=0.4, wrong_answer=0), fail=fail))
    status = {row["problem_id"]: row for row in rows(out / "status.parquet")}
    assert len(status) == 20
    assert status["toy-0002"]["reason"] == status["toy-0005"]["reason"] == "the image is broken"
    assert {row["status"] for row in status.values()} == {"done", "skipped", "failed"}
    for row in rows(out / "nodes.parquet"):
        status[row["problem_id"]]["n_nodes"] -= 1
    assert all(row["n_nodes"] == 0 for row in status.values())


def test_no_table_is_written_while_the_judge_is_down(
    tmp_path: Path, policy: Path, seeds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defect 2: the file was written with all wrong, and never tried again."""
    expected = tables_of(run(tmp_path / "whole", policy, seeds, 1, ScriptedEngine(POLICY)))
    undecided = grading.Graded(grading.Verdict.UNDECIDED, "down")
    with monkeypatch.context() as patch:
        patch.setattr(grading.Grader, "start", lambda self, items: Grading([undecided] * len(items)))
        with pytest.raises(UserError, match="20 of 20 problems failed"):
            run(tmp_path, policy, seeds, 1, ScriptedEngine(POLICY))
    assert not list((tmp_path / "annotation").rglob("*.parquet"))
    engine = ScriptedEngine(POLICY)
    assert tables_of(run(tmp_path, policy, seeds, 1, engine)) == expected


def test_a_shard_without_problems_writes_empty_tables(tmp_path: Path, policy: Path) -> None:
    write_problems(tmp_path / "none.parquet", [])
    (out,) = run(tmp_path, policy, tmp_path / "none.parquet", 1, ScriptedEngine(POLICY))
    assert tables.read(out / "status.parquet", schemas.STATUS).num_rows == 0


def test_a_budget_below_k_ends_with_what_to_change(tmp_path: Path, policy: Path, seeds: Path) -> None:
    config = toy_config(annotation={"k": 8, "max_rollouts": 4})
    with pytest.raises(UserError, match="raise max_rollouts, or lower k"):
        annotate(config, policy, seeds, Shard(), tmp_path / "w", tmp_path / "o", lambda: ScriptedEngine(POLICY))
