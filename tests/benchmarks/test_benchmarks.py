"""The benchmarks run and say what they should; how fast they are is not tested here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, from the repository's root, as the README gives it."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def search(open_limit: int) -> dict[str, Any]:
    tiny = ("--problems", "4", "--open", str(open_limit), "--budgets", "64", "128", "--budget-problems", "2")
    ended = run("search", *tiny)
    assert ended.returncode == 0, ended.stderr
    assert "4 problems" in ended.stderr
    (line,) = ended.stdout.splitlines()
    result: dict[str, Any] = json.loads(line)
    return result


def test_the_search_benchmark_ends_with_one_json_line_and_does_the_same_however_many_searches_are_open() -> None:
    one, many = search(1), search(4)
    assert {"rollouts_per_second", "states_per_second", "peak_mb", "us_per_rollout_by_budget", "machine"} <= set(one)
    assert list(one["us_per_rollout_by_budget"]) == ["64", "128"]
    done = ("problems", "searches", "states", "rollouts")
    assert [one[name] for name in done] == [many[name] for name in done]
    assert one["searches"] > one["problems"]


def test_the_annotation_benchmark_says_what_makes_its_files() -> None:
    ended = run("annotation", "--policy", "no/such/policy")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "no/such/policy is missing; `make run` makes" in ended.stderr


def test_the_judgement_benchmark_gives_each_folder_an_auc_of_each_kind_that_the_kept_base_model_does_well() -> None:
    ended = run("judgement", "models/mini-base", "--lessons", "8")
    assert ended.returncode == 0, ended.stderr
    (line,) = ended.stdout.splitlines()
    found = json.loads(line)["models/mini-base"]
    assert set(found) == {"judge_figure", "judge_facts", "judge_use", "judge_plan"}
    assert all(0.9 < value <= 1 for value in found.values())
