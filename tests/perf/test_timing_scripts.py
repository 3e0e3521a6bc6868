"""The timing scripts run and print what they should; how fast they are is not tested here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import browser as chromium
import pytest
import yaml

from mmprm.config import load
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, write_problems

ROOT = Path(__file__).parents[2]


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, from the repository's root, as the README gives it."""
    command = [sys.executable, "-m", f"perf.{name}", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def search(open_limit: int) -> dict[str, Any]:
    tiny = ("--problems", "4", "--open", str(open_limit), "--budgets", "64", "128", "--budget-problems", "2")
    ended = run("search", *tiny)
    assert ended.returncode == 0, ended.stderr
    assert "4 problems" in ended.stderr
    (line,) = ended.stdout.splitlines()
    result: dict[str, Any] = json.loads(line)
    return result


def test_the_search_script_ends_with_one_json_line_and_does_the_same_however_many_searches_are_open() -> None:
    one, many = search(1), search(4)
    assert {"rollouts_per_second", "states_per_second", "peak_mb", "us_per_rollout_by_budget", "machine"} <= set(one)
    assert list(one["us_per_rollout_by_budget"]) == ["64", "128"]
    done = ("problems", "searches", "states", "rollouts")
    assert [one[name] for name in done] == [many[name] for name in done]
    assert one["searches"] > one["problems"]


@pytest.mark.parametrize(("name", "option"), [("annotation", "--policy"), ("scoring", "--prm")])
def test_a_script_on_a_run_says_what_makes_its_files(name: str, option: str) -> None:
    ended = run(name, option, "no/such/folder")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "no/such/folder is missing; `make run` makes" in ended.stderr


@pytest.mark.heavy
def test_the_scoring_script_gives_each_scorer_a_speed_and_finds_them_agreed(
    mini_problems: list[Problem], mini_policy_folder: Path, tmp_path: Path
) -> None:
    write_problems(tmp_path / "problems.parquet", mini_problems[:2])
    solution = {"text": "", "steps": ["1 + 1 = 2", "2 + 2 = 4"], "status": "ok", "verdict": "correct", "method": ""}
    rows = [
        {"problem_id": problem.problem_id, "candidate": n, "answer": str(n), "n_tokens": 1, "finish_reason": "stop"}
        for problem in mini_problems[:2]
        for n in range(3)
    ]
    tables.write(tmp_path / "candidates.parquet", [row | solution for row in rows], schemas.CANDIDATES)
    config = load(yaml.safe_load((ROOT / "configs/ci.yaml").read_text()))
    (tmp_path / "config.json").write_text(config.model_dump_json())
    places = {"prm": mini_policy_folder, "config": tmp_path / "config.json"}
    places |= {"problems-table": tmp_path / "problems.parquet", "candidates": tmp_path / "candidates.parquet"}
    named = [part for name, path in places.items() for part in (f"--{name}", str(path))]
    ended = run("scoring", *named, "--problems", "2", "--repeats", "1")
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout.splitlines()[-1])
    assert result["candidates"] == 6
    assert set(result["candidates_per_second"]) == {"one_by_one", "trees", "vllm"}
    assert result["tokens_read"]["trees"] < result["tokens_read"]["one_by_one"] == result["tokens_read"]["vllm"]
    assert all(value < 1e-4 for value in result["largest_difference"].values())


@pytest.mark.heavy
def test_the_judgement_script_gives_each_folder_an_auc_of_each_kind_that_the_kept_base_model_does_well() -> None:
    ended = run("judgement", "models/mini-base", "--lessons", "8")
    assert ended.returncode == 0, ended.stderr
    (line,) = ended.stdout.splitlines()
    found = json.loads(line)["models/mini-base"]
    assert set(found) == {"judge_figure", "judge_facts", "judge_use", "judge_plan"}
    assert all(0.9 < value <= 1 for value in found.values())


def test_the_tagging_script_tags_its_solutions_and_refuses_the_wrong_ones() -> None:
    ended = run("tagging", "--solutions", "80", "--formulas", "0")
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout)
    assert result["refused_by_reason"] == {"answer_differs": 4}
    assert result["kept_by_method"].keys() == {"numbered", "blank_lines", "lines", "sentences"}
    assert {"solutions_per_second", "peak_mb", "machine"} <= set(result)


@pytest.mark.heavy
def test_the_seeds_script_saves_rollouts_and_decides_nothing_otherwise_where_the_stop_is_certain(
    tmp_path: Path,
) -> None:
    ended = run("seeds", "--problems", "60", "--draws", "16", "--blocks", "1", "4")
    assert ended.returncode == 0, ended.stderr
    (line,) = ended.stdout.splitlines()
    found = json.loads(line)["settings"]
    certain = {name: row for name, row in found.items() if " at " not in name}
    assert len(certain) == 4 and all(row["decided_otherwise"] == 0 for row in certain.values())
    assert all(0 < row["saved_rollouts"] < 1 for row in found.values())
    one, four = (found[f"some right, some wrong, blocks of {block}"]["saved_rollouts"] for block in (1, 4))
    assert one > four
    verdicts = ["correct", "incorrect"] * 4
    empty = dict.fromkeys(schemas.SEED_ROLLOUTS.names) | {"problem_id": "p", "steps": [], "n_tokens": 5}
    rows = [
        empty | {"blank": blank, "attempt": at, "verdict": one}
        for blank in (False, True)
        for at, one in enumerate(verdicts)
    ]
    tables.write(tmp_path / "rollouts.parquet", rows, schemas.SEED_ROLLOUTS)
    ended = run("seeds", str(tmp_path / "rollouts.parquet"), "--blocks", "4")
    result = json.loads(ended.stdout)
    assert (result["problems"], result["rollouts"]) == (1, 8)
    assert result["settings"]["some right, some wrong, blocks of 4"]["saved_tokens"] == 0.5


def test_the_pages_script_opens_both_pages_in_a_browser() -> None:
    if chromium.CHROMIUM is None:
        pytest.skip(chromium.ABSENT)
    sizes = {"trees": 6, "states": 3, "rollouts": 2, "problems": 5, "candidates": 2}
    ended = run("pages", *(word for name, size in sizes.items() for word in (f"--{name}", str(size))))
    assert ended.returncode == 0, ended.stderr
    (line,) = ended.stdout.splitlines()
    result = json.loads(line)
    assert result["sizes"] == sizes and result["load"] >= 0
    for page in ("trees", "candidates"):
        assert set(result[page]) == {"open_s", "item_s", "filter_s", "page_mib", "parts_mib"}
        assert result[page]["parts_mib"] > 0
