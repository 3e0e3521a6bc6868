"""Real rows of MM-K12 and MathVision, where MMPRM_REAL_DATA names them: see configs/real_samples.yaml."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from real_data import real_samples

from mmprm import config
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, read_problems, write_problems
from mmprm.data.shards import Shard
from mmprm.evaluation.measure import measure
from mmprm.evaluation.sample_candidates import sample_candidates
from mmprm.grading import Verdict, grade
from mmprm.prm.score_candidates import score_candidates
from mmprm.problems.intake import make_source

ROOT = Path(__file__).parents[2]
SIZES = {"mm_k12": 125, "mathvision": 76}


@pytest.fixture(scope="module")
def settings() -> config.Config:
    values = real_samples()
    values["policy"]["base"] = str(ROOT / values["policy"]["base"])
    values["sampling"]["max_new_tokens"] = 8
    values["engine"] |= {"kind": "transformers", "max_running": 8}
    values["bench"] = {"n": 2, "resamples": 100, "cross_check": 0}
    return config.load(values)


def taken(settings: config.Config, name: str, folder: Path) -> list[Problem]:
    make_source(settings, name, folder / "real.parquet", folder / "refused.parquet")
    assert tables.read_rows(folder / "refused.parquet", schemas.REFUSED) == []
    return read_problems(folder / "real.parquet")


@pytest.mark.parametrize("name", list(SIZES))
def test_every_real_row_is_taken_and_its_gold_answer_is_right(
    settings: config.Config, tmp_path: Path, name: str
) -> None:
    problems = taken(settings, name, tmp_path)
    assert len(problems) == SIZES[name]
    assert all(len(problem.images) == 1 for problem in problems)
    assert [p.problem_id for p in problems if grade(p.answer, p).verdict != Verdict.CORRECT] == []


def test_the_letter_of_another_option_is_wrong(settings: config.Config, tmp_path: Path) -> None:
    choices = [p for p in taken(settings, "mathvision", tmp_path) if p.answer_type == "choice"]
    assert len(choices) == 40
    for problem in choices:
        verdicts = {letter: grade(letter, problem).verdict for letter in "ABCDE"}
        assert [letter for letter, verdict in verdicts.items() if verdict == Verdict.CORRECT] == [problem.answer]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SIZES))
def test_candidates_of_real_problems_are_sampled_graded_scored_and_measured(
    settings: config.Config, mini_policy_folder: Path, tmp_path: Path, name: str
) -> None:
    problems, candidates = tmp_path / "some.parquet", tmp_path / "candidates.parquet"
    write_problems(problems, taken(settings, name, tmp_path)[:6])
    sample_candidates(settings, name, mini_policy_folder, problems, Shard(), tmp_path / "work", candidates)
    rows = tables.read_rows(candidates, schemas.CANDIDATES)
    assert len(rows) == 12 and all(row["n_tokens"] for row in rows)
    # An untrained policy writes nothing that parses; two solutions are put in, so that there is something to score.
    golds = {problem.problem_id: problem.answer for problem in read_problems(problems)}
    solved = {"steps": ["We look at it."], "status": "ok", "method": "test"}
    rows[0] |= solved | {"answer": golds[rows[0]["problem_id"]], "verdict": "correct"}
    rows[1] |= solved | {"answer": "-7.5", "verdict": "incorrect"}
    tables.write(candidates, rows, schemas.CANDIDATES)
    score_candidates(settings, mini_policy_folder, problems, candidates, tmp_path / "scores.parquet")
    scores = tables.read_rows(tmp_path / "scores.parquet", schemas.SCORES)
    assert [len(row["probabilities"]) for row in scores if row["probabilities"]] == [2, 2]
    out = tmp_path / "metrics.json"
    measure(settings, name, "soft", problems, candidates, tmp_path / "scores.parquet", out)
    found = {(row["metric"], row["n"]): row["value"] for row in json.loads(out.read_text())["rows"]}
    assert found["random", 1] == pytest.approx(1 / 12) and found["oracle", 2] == pytest.approx(1 / 6)
