"""Each benchmark, in its published schema, becomes problems that grading and intervals can work with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from published import mathverse, mathvision, mathvista, olympiadbench, write
from table_pictures import hub_image, picture

from mmprm.data.problem import Problem, read_problems, write_problems
from mmprm.grading import grade
from mmprm.model.step_text import question_text
from mmprm.problems.adapters.published import VERSIONS
from mmprm.runtime.errors import UserError

Intake = Callable[..., tuple[dict[str, Problem], dict[int, str]]]


def is_right(problem: Problem, answer: str) -> bool:
    return str(grade(answer, problem).verdict) == "correct"


def test_mathvista_keeps_choices_units_and_precision(intake: Intake, tmp_path: Path) -> None:
    rows = [
        mathvista("1"),
        mathvista(
            "2", choices=["6cm", "7cm"], answer="7cm", question_type="multi_choice", answer_type="text", precision=None
        ),
        mathvista("3", unit="g", answer="1000", answer_type="integer", precision=None),
        mathvista("4", answer="[1, 2]", answer_type="list", precision=None),
    ]
    found, bad = intake(kind="mathvista", path=write(tmp_path / "testmini.parquet", "mathvista", rows))
    assert not bad
    assert [(p.answer_type, p.precision, p.unit) for p in found.values()] == [
        ("number", 1, ""),
        ("choice", None, ""),
        ("integer", None, "g"),
        ("auto", None, ""),
    ]
    assert found["1"].images == (picture(1),) and found["1"].family == "figure question answering"
    assert question_text(found["2"]) == "How far is it?\n(A) 6cm\n(B) 7cm"
    assert is_right(found["2"], "B") and is_right(found["2"], "7 cm") and not is_right(found["2"], "A")
    assert found["3"].question == "How far is it? (Unit: g)"
    assert is_right(found["3"], "1000.7 g") and is_right(found["3"], "1 kg") and not is_right(found["3"], "999.9")


def test_mathvista_hints_come_before_the_question_where_they_are_asked_for(intake: Intake, tmp_path: Path) -> None:
    rows = [mathvista("1", unit="m"), mathvista("2", query="How far is it?")]
    path = write(tmp_path / "testmini.parquet", "mathvista", rows)
    found, bad = intake(kind="mathvista", path=path, hints=True)
    hint = "Hint: Please answer the question with one decimal place."
    assert found["1"].question == f"{hint}\nQuestion: How far is it? (Unit: m)"
    assert bad == {1: "bad_value"}


def test_a_mathvista_row_of_an_unpublished_type_is_refused(intake: Intake, tmp_path: Path) -> None:
    rows = [
        mathvista("1"),
        mathvista("2", question_type="essay"),
        mathvista("3", answer_type="complex"),
        mathvista("4", question_type="multi_choice", choices=["6cm"], answer="9cm"),
        mathvista("5", precision=-1.0),
        mathvista("6", precision=1.5),
        mathvista("7", question=None),
        mathvista("8", decoded_image={"bytes": None, "path": "../../etc/passwd"}),
        mathvista("9", decoded_image={"bytes": b"no image", "path": None}),
        mathvista("10", unit="<image>"),
    ]
    found, bad = intake(kind="mathvista", path=write(tmp_path / "testmini.parquet", "mathvista", rows))
    assert list(found) == ["1"]
    assert bad == dict(
        enumerate(
            ["bad_value"] * 5 + ["missing_value", "path_outside", "corrupt_image", "control_string"],
            start=1,
        )
    )


def test_the_five_versions_of_a_mathverse_problem_are_one_group(intake: Intake, tmp_path: Path) -> None:
    rows = [
        mathverse(5 * problem + place, problem, version) for problem in (1, 2) for place, version in enumerate(VERSIONS)
    ]
    rows.append(mathverse(50, 3, VERSIONS[0], image=hub_image(2)))  # another problem of the second one's figure
    rows.append(mathverse(60, 4, VERSIONS[0], question_type="free-form", answer="12"))
    found, bad = intake(kind="mathverse", path=write(tmp_path / "testmini.parquet", "mathverse", rows))
    assert not bad and len(found) == 12
    groups = {name: problem.group for name, problem in found.items()}
    assert {groups[str(5 + place)] for place in range(5)} == {"real/1"}
    assert {groups[str(10 + place)] for place in range(5)} | {groups["50"]} == {"real/2"}
    assert groups["60"] == "real/4"
    assert [found[str(5 + place)].family for place in range(5)] == list(VERSIONS)
    assert (found["5"].answer_type, found["60"].answer_type) == ("choice", "auto")
    assert "In triangle 1" in found["5"].question and "shown in the image" in found["9"].question
    assert is_right(found["5"], "85°") and is_right(found["5"], "C") and not is_right(found["5"], "75°")
    assert is_right(found["9"], "(C)") and not is_right(found["9"], "D")


def test_mathverse_in_text_alone_has_no_pictures(intake: Intake, tmp_path: Path) -> None:
    rows = [mathverse(1, 1, "Text Only", image=None), mathverse(2, 2, "Text Only", image=None)]
    path = write(tmp_path / "testmini_text_only.parquet", "mathverse", rows)
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["image"]), path)  # the published file has no such column
    found, bad = intake(kind="mathverse", path=tmp_path, split="testmini_text_only")
    assert not bad and [problem.images for problem in found.values()] == [(), ()]


def test_a_mathverse_row_of_another_version_or_without_its_index_is_refused(intake: Intake, tmp_path: Path) -> None:
    rows = [
        mathverse(1, 1, "Text Dominant"),
        mathverse(2, 1, "Text Alone"),
        mathverse(3, 1, "Text Lite", problem_index=None),
        mathverse(4, 1, "Text Lite", question_type="essay"),
        mathverse(5, 1, "Text Lite", image=None),
    ]
    _, bad = intake(kind="mathverse", path=write(tmp_path / "testmini.parquet", "mathverse", rows))
    assert bad == {1: "bad_value", 2: "missing_value", 3: "bad_value", 4: "missing_value"}


def test_mathvision_options_that_are_drawn_are_not_shown_as_text(intake: Intake, tmp_path: Path) -> None:
    rows = [
        mathvision(1),
        mathvision(2, options=["A", "B", "C", "D", "E"], answer="D"),
        mathvision(3, options=["(A)", "(B)", "(C)", "(D)", "(E)"], answer="A"),
        mathvision(4, options=[], answer="3.14", solution="It is so."),
        mathvision(5, options=["B", "A", "C"], answer="A"),
        mathvision(6, answer="F"),
        mathvision(7, answer="$7$ km"),
    ]
    found, bad = intake(kind="mathvision", path=write(tmp_path / "test.parquet", "mathvision", rows))
    assert bad == {5: "bad_value", 6: "bad_value"}
    kinds = {name: (p.answer_type, len(p.choices), p.precision) for name, p in found.items()}
    assert kinds == {
        "1": ("choice", 5, None),
        "2": ("choice", 0, None),
        "3": ("choice", 0, None),
        "4": ("auto", 0, 2),
        "5": ("choice", 3, None),
    }
    assert is_right(found["1"], "E") and is_right(found["1"], "18 km") and not is_right(found["1"], "7 km")
    assert is_right(found["2"], "(D)") and not is_right(found["2"], "A")
    assert found["4"].solution is None and found["4"].family == "arithmetic"


def test_olympiadbench_problems_keep_all_their_pictures_in_order(intake: Intake, tmp_path: Path) -> None:
    rows = [
        olympiadbench(1, error="1e-1", unit="m"),
        olympiadbench(2, context="Let $n$ be odd.", final_answer=["1", "$\\sqrt{2}$"], is_multiple_answer=True),
        olympiadbench(3, error="1e-2, 0.5", final_answer=["1,2"], is_multiple_answer=True),
        olympiadbench(4, answer_type="Interval", final_answer=["(0, 1)"]),
        olympiadbench(5, question="See <image_3>."),
        olympiadbench(6, answer_type="Proof"),
        olympiadbench(7, error="little"),
        olympiadbench(8, error="-1"),
        olympiadbench(9, image_1=None, image_2=None, question="Compute $T$."),
        olympiadbench(10, final_answer=[]),
        olympiadbench(11, question="See.", **{f"image_{number}": hub_image(number) for number in range(1, 10)}),
    ]
    found, bad = intake(kind="olympiadbench", path=write(tmp_path / "o.parquet", "olympiadbench", rows))
    assert bad == {
        4: "missing_value",
        5: "bad_value",
        6: "bad_value",
        7: "bad_value",
        8: "missing_value",
        9: "missing_value",
    }
    assert found["1"].images == (picture(10), picture(11)) and len(found["11"].images) == 9
    assert (found["1"].tolerance, found["1"].unit, found["1"].answer_type) == ((0.1,), "m", "number")
    assert found["1"].question == "In <image_1> and <image_2>, compute $T$. (Unit: m)"
    assert found["2"].question.startswith("Let $n$ be odd.\nIn <image_1>")
    assert (found["2"].answer, found["2"].answer_type) == ("1, $\\sqrt{2}$", "expression")
    assert found["3"].tolerance == (0.01, 0.5)
    assert is_right(found["1"], "2.25") and is_right(found["4"], "(0,1)") and not is_right(found["4"], "(0,2)")
    assert found["1"].family == "Geometry"


def test_both_published_forms_of_mm_k12_load(intake: Intake, tmp_path: Path) -> None:
    plain = {"id": "a", "question": "Find $x$.", "answer": "$$0.49$$", "image": hub_image(1)}
    found, bad = intake(kind="mm_k12", path=write(tmp_path / "one.parquet", "mm_k12", [plain]))
    assert not bad and found["a"].images == (picture(1),)
    choice = plain | {"question": "It is ( ) A. 2 B. 3 C. 4 D. 5", "answer": "B", "subject": "math"}
    found, bad = intake(kind="mm_k12", path=write(tmp_path / "two.parquet", "mmk12", [choice]), split="test")
    assert not bad and found["a"].family == "math" and is_right(found["a"], "3") and not is_right(found["a"], "A")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(picture(1))
    paths = [{"id": "a", "question": "Find $x$.", "answer": "1", "image_path": "images/a.png"}]
    paths.append(paths[0] | {"id": "b", "image_path": "../a.png"})
    (tmp_path / "three.json").write_text(json.dumps(paths))
    found, bad = intake(kind="mm_k12", path=tmp_path / "three.json")
    assert found["a"].images == (picture(1),) and bad == {1: "path_outside"}


@pytest.mark.parametrize("kind", ["mm_k12", "mathvista", "mathverse", "mathvision", "olympiadbench"])
def test_a_file_of_another_form_is_named_with_the_column_that_it_lacks(
    intake: Intake, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "other.jsonl").write_text('{"number": 1, "text": "What?"}\n')
    with pytest.raises(UserError, match=rf"other\.jsonl: there is no column .*'number', 'text'.*not {kind} as it was"):
        intake(kind=kind, path=tmp_path / "other.jsonl")


def test_own_tables_may_map_precision_unit_tolerance_and_group(intake: Intake, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    (tmp_path / "b.png").write_bytes(picture(1))
    row = {"id": "1", "question": "q", "answer": "2", "image": "a.png", "dp": 2, "u": "cm", "eps": [0.1, 1], "of": 7}
    rows = [row, row | {"id": "2", "dp": None, "u": None, "eps": 1e-3, "of": None}]
    rows += [row | {"id": "3", "eps": [None]}, row | {"id": "4", "dp": "two"}, row | {"id": "5", "of": 8}]
    rows += [row | {"id": "6", "image": "b.png", "of": None}]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    columns = {"precision": "dp", "unit": "u", "tolerance": "eps", "group": "of"}
    found, bad = intake(kind="table", path=tmp_path / "own.jsonl", columns=columns)
    kept = {name: (p.precision, p.unit, p.tolerance, p.group) for name, p in found.items()}
    assert kept == {
        "1": (2, "cm", (0.1, 1.0), "real/7"),
        "2": (None, "", (0.001,), "real/7"),  # they share a picture
        "5": (2, "cm", (0.1, 1.0), "real/7"),
        "6": (2, "cm", (0.1, 1.0), ""),
    }
    assert bad == {2: "bad_value", 3: "bad_value"}


def test_problems_that_share_a_picture_are_one_group_named_after_the_first(intake: Intake, tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    pictures = {"a": [0], "b": [1, 2], "c": [2], "d": [3], "e": [1]}
    rows = [
        {"id": name, "question": f"{name}?", "answer": "1", "image": [f"{number}.png" for number in numbers]}
        for name, numbers in pictures.items()
    ]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found, _ = intake(kind="table", path=tmp_path / "own.jsonl")
    assert {name: problem.group for name, problem in found.items()} == {
        "a": "",
        "b": "real/b",
        "c": "real/b",
        "d": "",
        "e": "real/b",
    }


@pytest.mark.parametrize("change", [{"precision": 2}, {"unit": "cm"}, {"tolerance": (0.1,)}])
def test_what_an_answer_is_graded_by_is_part_of_the_fingerprint_and_comes_back(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    base = Problem("a/1", "a", "q", "1", (b"x",), group="a/g")
    changed = replace(base, **change)
    assert changed.fingerprint != base.fingerprint == replace(base, group="").fingerprint
    write_problems(tmp_path / "p.parquet", [changed])
    assert read_problems(tmp_path / "p.parquet") == [changed]


def test_a_problem_without_the_new_fields_keeps_its_fingerprint() -> None:
    """Journals of earlier runs are keyed by it."""
    problem = Problem("a/1", "a", "What is x?", "3", (b"x",), ("1", "3"), "choice")
    assert problem.fingerprint == "70eba6fd5d0ddd98421a86fe3666699e"
