"""The judge over the scheduler: answers in words that no rule reads, and a judge that reads them."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from judge_server import DOWN, KEY, Reply, Server, part, said, settings
from scripted_engine import ScriptedEngine, ToyPolicy, toy_problem
from toy_world import ask, policy_folder, rows, run_scheduler, toy_config

from mmprm import config
from mmprm.annotation.omegaprm import omegaprm
from mmprm.data.problem import Problem, write_problems
from mmprm.data.shards import Shard
from mmprm.grading import Grader
from mmprm.runtime.errors import UserError
from mmprm.seeds.sample import sample_seeds

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PROBLEMS = [toy_problem(number) for number in range(12)]
LIMITS = config.Annotation(k=6, max_searches=10, max_rollouts=90)


class Spelling:
    """ToyPolicy, with a share of the answers in words: `one two zero`."""

    def __init__(self, share: float = 1.0) -> None:
        self.share = share
        self.policy = ToyPolicy(garbage=0.1)

    def __call__(self, problem: Problem, prefix: tuple[str, ...], rng: random.Random) -> str:
        text = self.policy(problem, prefix, rng)
        if rng.random() >= self.share:
            return text
        return re.sub(r"(?<=<answer>)\d+", lambda m: " ".join(NAMES[int(digit)] for digit in m[0]), text)


def reads_words(prompt: str) -> Reply:
    digits = [str(NAMES.index(name)) for name in part(prompt, "answer").split()]
    return said("Yes" if "".join(digits) == part(prompt, "reference") else "No")


def annotate(server: Server, engine: ScriptedEngine, folder: Path, model: str = "judge-1") -> Any:
    searches = [(problem.problem_id, omegaprm(problem, LIMITS, ask)) for problem in PROBLEMS]
    with Grader.of(settings(server, model=model)) as grader:
        outcomes, _ = run_scheduler(searches, engine, folder, grader, grading=grader.version)  # type: ignore[arg-type]
    return {name: outcome.value for name, outcome in outcomes.items()}


def verdicts(trees: Any) -> set[tuple[str, str]]:
    return {(row["verdict"], row["method"]) for tree in trees.values() for row in tree.rollout_rows()}


def test_with_the_judge_down_nothing_is_labelled_and_the_next_run_grades_again_and_resamples_nothing(
    server: Server, tmp_path: Path
) -> None:
    server.reply = lambda prompt: DOWN
    first = ScriptedEngine(Spelling())
    down = annotate(server, first, tmp_path)
    assert verdicts(down) == {("undecided", "judge:503"), ("unparsed", "parse")}
    assert {tree.status for tree in down.values()} == {"failed"}
    assert len(first.sampled) == len(PROBLEMS)

    server.reply = reads_words
    second = ScriptedEngine(Spelling())
    up = annotate(server, second, tmp_path)
    assert verdicts(up) == {("correct", "judge"), ("incorrect", "judge"), ("unparsed", "parse")}
    assert not set(first.sampled) & set(second.sampled)
    expected = annotate(server, ScriptedEngine(Spelling()), tmp_path / "other")
    assert [tree.node_rows() for tree in up.values()] == [tree.node_rows() for tree in expected.values()]

    asked = len(server.bodies)
    third = ScriptedEngine(Spelling())
    annotate(server, third, tmp_path)
    assert len(server.bodies) == asked  # the new verdicts were recorded
    annotate(server, third, tmp_path, "judge-2")
    assert len(server.bodies) > asked  # another judge's are its own
    assert not third.sampled


def test_no_table_is_written_while_the_judge_leaves_more_than_a_few_answers_undecided(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_problems(tmp_path / "problems.parquet", PROBLEMS)
    policy = policy_folder(tmp_path / "policy")
    run = toy_config(grading=settings(server).model_dump())
    out = tmp_path / "seeds/rollouts.parquet"
    out.parent.mkdir()

    def sample(engine: ScriptedEngine) -> None:
        sample_seeds(run, policy, [tmp_path / "problems.parquet"], Shard(), tmp_path / "work", out, lambda: engine)

    server.reply = lambda prompt: DOWN
    with pytest.raises(UserError, match=r"judge-1.* left \d+ of \d+ questions unanswered; fix it and run") as raised:
        sample(ScriptedEngine(Spelling(share=0.2)))
    assert not out.exists()
    server.reply = reads_words
    engine = ScriptedEngine(Spelling(share=0.2))
    sample(engine)
    assert not engine.sampled
    assert {row["method"] for row in rows(out)} == {"number", "judge", "parse"}
    assert json.loads((out.parent / "rollouts.parquet.usage.json").read_text())["judge"]["unanswered"] == 0
    texts = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(KEY.encode() in text for text in texts)
    assert KEY not in str(raised.value) + "".join(capfd.readouterr())
