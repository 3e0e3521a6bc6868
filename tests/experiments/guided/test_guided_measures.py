"""What guided strategies reach stands beside Best-of-N of the same problems, by tokens."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from scripted_engine import toy_problem
from toy_world import toy_config

from mmprm.data import schemas, tables
from mmprm.data.problem import write_problems
from mmprm.experiments.guided.decode import measure_guided
from mmprm.experiments.sections import GuidedSection
from mmprm.runtime.errors import UserError

CONFIG = toy_config(
    bench={"n": 2, "primary": "last", "resamples": 200}, guided={"beam": {"kind": "beam", "n": 2, "width": 2}}
)


def completion(problem: int, right: bool, tokens: int) -> dict[str, Any]:
    answer = toy_problem(problem).answer if right else "-1"
    verdict = {"verdict": "correct" if right else "incorrect", "method": "number", "status": "ok"}
    whole = {"text": "", "steps": ["a"], "answer": answer, "n_tokens": tokens, "finish_reason": "stop"}
    return {"problem_id": f"toy-{problem:04d}"} | whole | verdict


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Four problems. The PRM ranks the right one of two candidates first in half of them; beam is right in three."""
    write_problems(tmp_path / "problems.parquet", [toy_problem(number) for number in range(4)])
    candidates = [completion(p, c == 0, 10) | {"candidate": c} for p in range(4) for c in range(2)]
    tables.write(tmp_path / "candidates.parquet", candidates, schemas.CANDIDATES)
    scores = [
        {"problem_id": f"toy-{p:04d}", "candidate": c, "probabilities": [0.5, 0.9 if (c == 0) == (p < 2) else 0.1]}
        for p in range(4)
        for c in range(2)
    ]
    tables.write(tmp_path / "scores.parquet", scores, schemas.SCORES)
    for shard, numbers in (("0-of-2", (0, 2)), ("1-of-2", (1, 3))):
        cost = {"probabilities": [0.9, 0.9], "n_solutions": 1, "n_requests": 3}
        rows = [completion(p, p != 3, 5) | cost | {"n_correct": int(p != 3), "sampled_tokens": 30 + p} for p in numbers]
        tables.write(tmp_path / f"beam/{shard}.parquet", rows, schemas.GUIDED)
    return {name: tmp_path / f"{name}.parquet" for name in ("problems", "candidates", "scores")}


def test_strategies_stand_beside_best_of_n_and_majority(files: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "bench/toy/soft/guided.json"
    measure_guided(CONFIG, "toy", "soft", **files, decoded=sorted(tmp_path.glob("beam/*.parquet")), out=out)
    rows = {(row["strategy"], row["n"]): row for row in json.loads(out.read_text())["rows"]}
    assert list(rows) == [("best_of_n", 1), ("majority", 1), ("best_of_n", 2), ("majority", 2), ("beam", 2)]
    at = {key: (row["tokens"]["value"], row["accuracy"]["value"]) for key, row in rows.items()}
    assert at["best_of_n", 1] == (10, 0.5) and at["best_of_n", 2] == (20, 0.5)
    assert at["beam", 2] == (31.5, 0.75)
    beam = rows["beam", 2]
    assert beam["minus_best_of_n"]["value"] == 0.25
    assert beam["minus_best_of_n"]["ci_low"] <= 0.25 <= beam["minus_best_of_n"]["ci_high"]
    assert (beam["problems"], beam["oracle"]["value"]) == (4, 0.75)
    shown = GuidedSection().below_benchmark(tmp_path, "toy", "soft")
    assert shown is not None and "<svg" in shown
    assert re.findall(r"<tr><td>([^<]*)</td>", shown)[-1] == "beam"
    assert GuidedSection().below_benchmark(tmp_path, "toy", "hard") is None


def test_a_missing_shard_is_told(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"guided beam: its problems are not those of .*; is a shard missing"):
        measure_guided(
            CONFIG, "toy", "soft", **files, decoded=[tmp_path / "beam/0-of-2.parquet"], out=tmp_path / "guided.json"
        )
