"""Candidates of any policy: what is read, what is refused and where, and that a run's statistics come out."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from mmprm.cli import app
from mmprm.config.offline import OfflineSettings, read_offline_settings
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, write_problems
from mmprm.evaluation.external_candidates import read_candidates
from mmprm.evaluation.offline import evaluate, score
from mmprm.model import folders
from mmprm.model.step_text import parse
from mmprm.prm import score_candidates
from mmprm.prm.step_scores import Item, StepScores
from mmprm.runtime.errors import UserError

GOOD = {"problem": "a", "steps": ["3 + 4 = 7"], "answer": "7"}
PROBLEMS = [{"id": "a", "question": "3 + 4?", "answer": "7"}, {"id": "b", "question": "1/2?", "answer": "0.5"}]


def lines(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    return lines(tmp_path / "problems.jsonl", PROBLEMS)


class Believer:
    """A PRM that believes in solutions whose last step has a 7 or 1/2 in it."""

    prompt_tokens = 0

    def score(self, items: Sequence[Item]) -> list[StepScores]:
        values = [0.9 if "7" in steps[-1] or "1/2" in steps[-1] else 0.2 for _, steps, _ in items]
        return [StepScores([p] * (len(steps) + 1)) for p, (_, steps, _) in zip(values, items, strict=True)]

    def close(self) -> None:
        pass


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[OfflineSettings]:
    """The settings with which a scorer was opened, each time; the scorer is a Believer."""
    seen: list[OfflineSettings] = []

    def opening(settings: OfflineSettings, _: Path) -> Believer:
        seen.append(settings)
        return Believer()

    monkeypatch.setattr(score_candidates, "open_scorer", opening)
    monkeypatch.setattr(score_candidates, "_open_reference", lambda *_: Believer())
    return seen


@pytest.fixture
def prm(tmp_path: Path, opened: list[OfflineSettings]) -> Path:
    """A folder that passes for a PRM."""
    folder = tmp_path / "prm"
    folder.mkdir()
    folders.write_manifest(folder, {"config": {"prompt": {"instruction": "Think in steps."}}})
    return folder


def test_ids_problems_brought_along_and_tagged_texts_become_candidates(tmp_path: Path, problems: Path) -> None:
    brought = {"question": "2 * 2?", "answer": 4}
    rows = [
        GOOD,
        GOOD | {"answer": 8},
        {"problem": brought, "steps": ["2 * 2 = 4"], "answer": "4"},
        {"problem": dict(brought), "steps": ["2 + 2 = 4"], "answer": "4"},
        {"problem": "b", "text": "<step>1 / 2</step><answer>1/2</answer>"},
    ]
    given = read_candidates(problems, lines(tmp_path / "c.jsonl", rows))
    assert [(row["candidate"], row["answer"]) for row in given.rows] == [
        (0, "7"),
        (1, "8"),
        (0, "4"),
        (1, "4"),
        (0, "1/2"),
    ]
    assert given.rows[2]["problem_id"] == given.rows[3]["problem_id"] and len(given.problems) == 3
    assert given.rows[4]["steps"] == ["1 / 2"] and {row["status"] for row in given.rows} == {"ok"}


def test_images_are_paths_below_the_file_or_bytes_in_parquet(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(buffer, "PNG")
    (tmp_path / "red.png").write_bytes(buffer.getvalue())
    by_path = lines(tmp_path / "c.jsonl", [GOOD | {"problem": {"question": "?", "answer": "7", "image": "red.png"}}])
    (problem,) = read_candidates(None, by_path).problems.values()
    assert problem.images == (buffer.getvalue(),)
    image = {"bytes": buffer.getvalue(), "path": None}
    row = {"problem": {"question": "?", "answer": "7", "image": image}, "steps": ["s"], "answer": "7"}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "c.parquet")
    (same,) = read_candidates(None, tmp_path / "c.parquet").problems.values()
    assert same.images == problem.images


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("{", "not JSON"),
        ("[1]", "a row is an object, this is list"),
        ({"steps": ["s"], "answer": "7"}, "`problem` is neither an id nor an object"),
        (GOOD | {"problem": "zz"}, "problem 'zz' is not in"),
        ({"problem": "a", "answer": "7"}, "there are neither `steps`"),
        (GOOD | {"steps": "3 + 4 = 7"}, "steps are not a list of texts"),
        (GOOD | {"steps": ["s", 3]}, "steps are not a list of texts"),
        (GOOD | {"answer": ["7"]}, "answer is"),
        (GOOD | {"candidate": 0}, "there is another candidate 0 of problem 'a' above"),
        (GOOD | {"candidate": -1}, "candidate is -1"),
        (GOOD | {"problem": {"question": "?", "answer": "7", "image": "none.png"}}, "there is no file 'none.png'"),
        (GOOD | {"problem": {"question": " ", "answer": "7"}}, "question is blank"),
        (GOOD | {"problem": {"question": "Is <prm> right?", "answer": "7"}}, "a tag or model token stands in"),
        (GOOD | {"problem": {"question": "?", "answer": "7", "answer_type": "word"}}, "answer_type 'word' is not one"),
        (GOOD | {"problem": {"question": "?", "answer": "7", "precision": 0.5}}, "precision 0.5 is not a number of"),
    ],
)
def test_a_bad_row_is_told_with_its_file_and_line(tmp_path: Path, problems: Path, row: Any, says: str) -> None:
    file = lines(tmp_path / "own.jsonl", [GOOD, "", row, GOOD])
    with pytest.raises(UserError) as told:
        read_candidates(problems, file)
    assert "own.jsonl: bad rows (1)" in str(told.value) and f"line 3: {says}" in str(told.value)


def test_a_problem_is_read_as_that_of_a_source_is_and_keeps_its_own_id(tmp_path: Path) -> None:
    graded = {"precision": 1.0, "unit": "cm", "tolerance": "0.05", "group": "figure 1", "choices": '["7", "8"]'}
    rows = [
        {"id": "a", "question": "<image>\nHow long?", "answer": 7} | graded,
        {"id": 2, "question": "?", "answer": "1"},
    ]
    file = lines(tmp_path / "mine.jsonl", [*rows, {"id": "c", "question": "?", "answer": "2", "unit": float("nan")}])
    made = read_candidates(
        file, lines(tmp_path / "c.jsonl", [GOOD | {"problem": name} for name in ("a", 2, "c")])
    ).problems
    assert list(made) == ["a", "2", "c"]
    expected = Problem("a", "mine", "How long?", "7", choices=("7", "8"), precision=1, unit="cm", tolerance=(0.05,))
    assert made["a"] == replace(expected, group="mine/figure 1")
    assert made["c"] == Problem("c", "mine", "?", "2")


def test_given_problems_of_one_group_are_resampled_together(tmp_path: Path, prm: Path) -> None:
    problems = lines(tmp_path / "p.jsonl", [row | {"group": "g"} for row in PROBLEMS])
    candidates = lines(tmp_path / "c.jsonl", [GOOD, GOOD | {"problem": "b"}])
    score(prm, problems, candidates, tmp_path / "scores.parquet", None)
    evaluate(problems, candidates, tmp_path / "scores.parquet", tmp_path / "metrics.json", None)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["n_problems"], metrics["n_groups"], metrics["mcnemar"]) == (2, 1, [])


def test_a_bad_problem_is_told_with_its_file_and_line(tmp_path: Path) -> None:
    file = lines(
        tmp_path / "p.jsonl", [*PROBLEMS, PROBLEMS[0], {"id": "c", "question": "?"}, {"question": "?", "answer": "1"}]
    )
    with pytest.raises(UserError, match=r"p\.jsonl: bad rows \(3\)") as told:
        read_candidates(file, lines(tmp_path / "c.jsonl", [GOOD]))
    assert all(f"line {line}" in str(told.value) for line in (3, 4, 5))
    with pytest.raises(UserError, match=r"none\.jsonl: cannot be read"):
        read_candidates(tmp_path / "none.jsonl", file)
    with pytest.raises(UserError, match="there are no rows"):
        read_candidates(None, lines(tmp_path / "empty.jsonl", []))


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"steps": [], "answer": None}, "empty"),
        ({"answer": None}, "no_answer"),
        ({"answer": "  "}, "no_answer"),
        ({"steps": []}, "malformed"),
        ({"steps": ["a", " "]}, "malformed"),
        ({"steps": ["a <prm>"]}, "control"),
    ],
)
def test_a_candidate_that_is_no_solution_is_kept_with_a_status(
    tmp_path: Path, problems: Path, change: dict[str, Any], status: str
) -> None:
    (row,) = read_candidates(problems, lines(tmp_path / "c.jsonl", [GOOD | change])).rows
    assert (row["status"], row["steps"], row["answer"]) == (status, [], None)


def test_scores_and_metrics_of_problems_with_different_numbers_of_candidates(
    tmp_path: Path, problems: Path, prm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right_b = {"problem": "b", "steps": ["1/2 it is"], "answer": "$\\frac{1}{2}$"}
    wrong = [{"problem": name, "steps": ["a guess"], "answer": "9"} for name in ("a", "a", "b")]
    rows = [GOOD, *wrong, right_b, {"problem": "b", "steps": [], "answer": None}, GOOD | {"answer": None}]
    candidates = lines(tmp_path / "mine.jsonl", rows)
    score(prm, problems, candidates, tmp_path / "scores.parquet", None)
    found = tables.read_rows(tmp_path / "scores.parquet", schemas.SCORES)
    assert [(row["problem_id"], row["candidate"], len(row["probabilities"])) for row in found] == [
        ("a", 0, 2), ("a", 1, 2), ("a", 2, 2), ("a", 3, 0), ("b", 0, 2), ("b", 1, 2), ("b", 2, 0)
    ]  # fmt: skip
    assert "2 of 7 candidates count as unparsed: 1 empty, 1 no_answer" in capsys.readouterr().err
    evaluate(problems, candidates, tmp_path / "scores.parquet", tmp_path / "metrics.json", None)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    accuracy = metrics["accuracy"]
    assert accuracy["random"] == pytest.approx((1 / 4 + 1 / 3) / 2)
    assert accuracy["bon/mean_odds"] == accuracy["weighted_majority"] == accuracy["oracle"] == 1
    assert accuracy["majority"] == pytest.approx((0 + 1 / 2) / 2)
    assert (metrics["n"], metrics["candidates_a_problem"], metrics["benchmark"]) == (4, {"3": 1, "4": 1}, "mine")
    assert {row["variant"] for row in metrics["rows"]} == {"prm"} and metrics["tokens_mean"] is None
    said = capsys.readouterr().out
    assert "weighted_majority" in said and "pass@4" in said and "McNemar" in said


def test_the_prompt_is_that_of_the_prms_training_unless_the_settings_say_otherwise(
    tmp_path: Path, problems: Path, prm: Path, opened: list[OfflineSettings]
) -> None:
    candidates = lines(tmp_path / "c.jsonl", [GOOD])
    settings = tmp_path / "settings.yaml"
    settings.write_text("prompt: {instruction: Other.}\nengine: {kind: transformers, max_images: 3}\n")
    for config in (None, settings):
        score(prm, problems, candidates, tmp_path / "s.parquet", config)
    first, second = opened
    assert (first.prompt.instruction, first.engine.max_images) == ("Think in steps.", 1)
    assert (second.prompt.instruction, second.engine.max_images) == ("Other.", 3)


def test_scores_of_other_candidates_are_refused(tmp_path: Path, problems: Path, prm: Path) -> None:
    candidates, scores = lines(tmp_path / "c.jsonl", [GOOD]), tmp_path / "s.parquet"
    score(prm, problems, candidates, scores, None)
    lines(candidates, [GOOD | {"steps": ["3 + 4 is 7"]}])
    with pytest.raises(UserError, match="made for other candidates"):
        evaluate(problems, candidates, scores, tmp_path / "m.json", None)
    assert not (tmp_path / "m.json").exists()


def test_settings_are_some_sections_or_a_whole_configuration(tmp_path: Path) -> None:
    assert read_offline_settings(None).bench.primary == "mean_odds"
    file = tmp_path / "settings.yaml"
    file.write_text("bench: {primary: min}\nseed: 3\n")
    assert (read_offline_settings(file).bench.primary, read_offline_settings(file).seed) == ("min", 3)
    whole = Path(__file__).parents[2] / "configs/ci.yaml"
    assert read_offline_settings(whole).engine.max_model_len == 640
    for text, says in (("bench: {primary: best}", "bench.primary"), ("labels: {}", "labels"), ("- 1", "mapping")):
        file.write_text(text)
        with pytest.raises(UserError, match=rf"settings\.yaml.*(.|\n)*{says}"):
            read_offline_settings(file)


@pytest.mark.slow
def test_a_real_prm_scores_a_problem_table_and_own_candidates_by_the_command_line(
    tmp_path: Path, mini_problems: list[Problem], mini_policy_folder: Path
) -> None:
    table = tmp_path / "problems.parquet"
    write_problems(table, mini_problems[:3])
    rows = [
        {"problem": problem.problem_id, "steps": list(parse(problem.solution or "").steps), "answer": answer}
        for problem in mini_problems[:3]
        for answer in (problem.answer, "1234")
    ]
    candidates, scores = lines(tmp_path / "c.jsonl", rows), tmp_path / "s.parquet"
    settings = tmp_path / "settings.yaml"
    settings.write_text("engine: {kind: transformers}\nbench: {resamples: 200}\n")
    common = ["--problems", str(table), "--candidates", str(candidates), "--config", str(settings)]
    done = CliRunner().invoke(app, ["score", "--prm", str(mini_policy_folder), "--out", str(scores), *common])
    assert done.exit_code == 0, done.output
    markers = {row["problem_id"]: len(row["probabilities"]) for row in tables.read_rows(scores, schemas.SCORES)}
    assert markers == {p.problem_id: len(parse(p.solution or "").steps) + 1 for p in mini_problems[:3]}
    done = CliRunner().invoke(app, ["evaluate", "--scores", str(scores), "--out", str(tmp_path / "m.json"), *common])
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "m.json").read_text())["accuracy"]["random"] == 0.5
    done = CliRunner().invoke(app, ["evaluate", "--scores", str(table), "--out", str(tmp_path / "m.json"), *common])
    assert done.exit_code == 2 and "probabilities" in done.output


@pytest.mark.parametrize("kind", ["TIFF", "PNG"])
def test_pictures_of_a_given_problem_table_are_checked_as_those_of_sources(kind: str, tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.new("1", (16, 16) if kind == "TIFF" else (6000, 5000)).save(out, kind)
    path = tmp_path / "given.parquet"
    write_problems(path, [Problem("given/a", "given", "?", "7", (out.getvalue(),))])
    candidates = lines(tmp_path / "c.jsonl", [GOOD | {"problem": "given/a"}])
    with pytest.raises(UserError, match="an image of problem 'given/a'"):
        read_candidates(path, candidates)
