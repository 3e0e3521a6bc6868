"""`mmprm grade` and its benchmark: one verdict a row, in order, and clear words about rows that cannot be used."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from perf import grading as benchmark
from typer.testing import CliRunner

from mmprm.cli import app
from mmprm.grading.grade_answers import grade_answers, read_answers
from mmprm.runtime.errors import UserError

CHOICE = {"benchmark": "mathvista", "choices": ["Yes", "No"], "question_type": "multi_choice", "answer_type": "text"}
ROWS: list[tuple[dict[str, Any], str, str]] = [
    ({"answer": "12", "response": r"So it is \boxed{12}."}, "correct", "box:number"),
    ({"answer": "B", "choices": ["1", "2", "3"], "response": "The answer is (B)."}, "correct", "said:choice"),
    ({"answer": "B", "choices": ["1", "2", "3"], "response": "(A) or (B)"}, "unparsed", "several"),
    ({"answer": "12", "response": None}, "unparsed", "none"),
    ({"answer": "12", "response": "I cannot see the image."}, "unparsed", "evasive"),
    ({"answer": r"\sqrt{8}", "response": r"\boxed{2\sqrt{2}}"}, "correct", "box:math_verify"),
    ({"answer": r"\sqrt{2}", "response": r"\boxed{9^{9 \cdot 9^{9}}}"}, "undecided", "box:math_verify:TimeoutError"),
    (
        {"answer": "3.9", "precision": 1.0, "benchmark": "mathvista", "response": "It is 3.94."},
        "correct",
        "line:number",
    ),
    ({"answer": ["2.7", "3.14"], "error": "0.1,0.01", "response": r"\boxed{2.78, 3.14}"}, "correct", "box:math_verify"),
    ({"answer": 1000, "unit": "g", "response": "Answer: 1 kg"}, "correct", "said:number"),
    (CHOICE | {"answer": "No", "response": "No, it is not."}, "correct", "line:choice"),
    (CHOICE | {"answer": "Yes", "response": "The question cannot be answered."}, "correct", "nearest"),
    (CHOICE | {"answer": "No", "response": "Both are: A and B"}, "unparsed", "several"),
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps({"problem_id": str(place)} | row) + "\n" for place, row in enumerate(rows)))
    return path


@pytest.mark.usefixtures("only_hanging_formulas_time_out")
def test_the_verb_writes_one_verdict_a_row_in_their_order(tmp_path: Path) -> None:
    source, output = write(tmp_path / "answers.jsonl", [row for row, _, _ in ROWS]), tmp_path / "verdicts.parquet"
    ran = CliRunner().invoke(app, ["grade", "--input", str(source), "--output", str(output), "--timeout", "3"])
    assert ran.exit_code == 0, ran.output
    table = pq.read_table(output)
    assert table.column_names == ["problem_id", "verdict", "method", "extracted"]
    found = table.to_pylist()
    assert [row["problem_id"] for row in found] == [str(place) for place in range(len(ROWS))]
    assert [(row["verdict"], row["method"]) for row in found] == [(verdict, method) for _, verdict, method in ROWS]
    assert found[0]["extracted"] == "12" and found[3]["extracted"] is None
    assert "1 undecided" in ran.output


def test_a_refusal_is_unparsed_where_the_nearest_option_is_not_asked_for(tmp_path: Path) -> None:
    refusal = CHOICE | {"answer": "Yes", "response": "The question cannot be answered."}
    source = write(tmp_path / "answers.jsonl", [refusal, refusal | {"benchmark": "mathverse"}])
    assert grade_answers(source, tmp_path / "a.parquet") == {"correct": 1, "unparsed": 1}
    assert grade_answers(source, tmp_path / "b.parquet", nearest=False) == {"unparsed": 2}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"problem_id": "1", "response": "x"}', "no answer"),
        ('{"problem_id": "1", "answer": "1", "response": 3}', "response is int"),
        ('{"problem_id": "1", "answer": null, "response": "x"}', "answer (the gold one)"),
        ('{"problem_id": "1", "answer": "1", "response": "x", "choices": "AB"}', "choices is not a list"),
        ('{"problem_id": "1", "answer": "1", "response": "x", "precision": "two"}', "precision is 'two'"),
        ('{"problem_id": "1", "answer": "1", "response": "x", "error": "little"}', "little"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_and_nothing_is_written(line: str, says: str, tmp_path: Path) -> None:
    source = tmp_path / "answers.jsonl"
    source.write_text('{"problem_id": "0", "answer": "1", "response": "1"}\n\n' + line + "\n")
    with pytest.raises(UserError, match="line 3: ") as raised:
        grade_answers(source, tmp_path / "verdicts.parquet")
    assert says in str(raised.value)
    assert not (tmp_path / "verdicts.parquet").exists()


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_answers(tmp_path / "none.jsonl")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        read_answers(tmp_path / "image.png")


def test_the_benchmark_counts_agreement_and_lists_what_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    official = [True, True, False, False, True, True]
    rows = [
        row | {"benchmark": row.get("benchmark", "mathvision"), "official_correct": correct}
        for (row, _, _), correct in zip([*ROWS[:5], ROWS[11]], official, strict=True)
    ]
    source, differing = write(tmp_path / "answers.jsonl", rows), tmp_path / "differing.csv"
    benchmark.main(["--input", str(source), "--disagreements", str(differing), "--workers", "1"])
    result = json.loads(capsys.readouterr().out)
    assert result["agreement"]["mathvision"] == {"n": 5, "agreement": 0.8, "no_nearest": 0.8}
    assert result["agreement"]["mathvista"] == {"n": 1, "agreement": 1.0, "no_nearest": 0.0}
    assert result["methods"]["nearest"] == 1 and result["disagreements"] == 1
    assert 0 <= result["slowest_seconds"] < 5 and result["answers_per_second"] > 0
    (row,) = csv.DictReader(differing.open())
    assert (row["problem_id"], row["verdict"], row["official_correct"]) == ("4", "unparsed", "True")


def test_the_benchmark_needs_official_verdicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        benchmark.main(["--input", str(write(tmp_path / "answers.jsonl", [ROWS[0][0]]))])
    assert ended.value.code == 2 and "official_correct" in capsys.readouterr().err
