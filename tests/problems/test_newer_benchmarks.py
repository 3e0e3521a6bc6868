"""MMMU, DynaMath, We-Math and LogicVista, by the columns in which they are published."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from real_data import published
from table_pictures import hub_image, picture

from mmprm.data.problem import Problem
from mmprm.grading import Verdict, grade, rules

Intake = Callable[..., tuple[dict[str, Problem], dict[int, str]]]
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
MMMU = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "question", "options", "explanation")),
        *((f"image_{number}", IMAGE) for number in range(1, 8)),
        *((name, pa.string()) for name in ("img_type", "answer", "topic_difficulty", "question_type", "subfield")),
    ]
)
DYNAMATH = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "question", "image")),
        ("decoded_image", IMAGE),
        *((name, pa.string()) for name in ("ground_truth", "answer_type", "subject", "knowledge_level")),
    ]
)


def right(problem: Problem, *answers: str) -> list[bool]:
    return [grade(answer, problem).verdict is Verdict.CORRECT for answer in answers]


def mmmu(number: int, **changes: Any) -> dict[str, Any]:
    """A row with two options, of which one is a picture."""
    return (
        dict.fromkeys(MMMU.names)
        | {
            "id": f"validation_Computer_Science_{number}",
            "question": "Which tree is balanced in <image 1>?",
            "options": "['the left one', '<image 2>']",
            "image_1": hub_image(number),
            "image_2": hub_image(number + 100),
            "answer": "B",
            "question_type": "multiple-choice",
            "subfield": "Data Structures",
        }
        | changes
    )


def test_mmmu_rows_have_their_pictures_in_order_and_several_open_answers(intake: Intake, tmp_path: Path) -> None:
    rows = [
        mmmu(1),
        mmmu(2, question_type="open", options="[]", answer="['2.5', '5/2']", image_2=None),
        mmmu(3, question_type="open", options="[]", answer="8.333", image_2=None),
        mmmu(4, image_2=None),
        mmmu(5, answer="C"),
        mmmu(6, question_type="essay"),
    ]
    (tmp_path / "Computer_Science").mkdir()
    pq.write_table(pa.Table.from_pylist(rows, MMMU), tmp_path / "Computer_Science/validation-00000-of-00001.parquet")
    problems, bad = intake(kind="mmmu", path=tmp_path)
    assert bad == {3: "placeholders", 4: "bad_value", 5: "bad_value"}
    first = problems["validation_Computer_Science_1"]
    assert first.images == (picture(1), picture(101)) and first.family == "Computer_Science"
    assert first.question == "Which tree is balanced in <image1>?" and right(first, "B", "A") == [True, False]
    assert right(problems["validation_Computer_Science_2"], "2.5", "5/2", "2.6") == [True, True, False]
    assert right(problems["validation_Computer_Science_3"], "8.33", "8.3") == [True, False]


def dynamath(name: str, answer: str, **changes: Any) -> dict[str, Any]:
    return (
        dict.fromkeys(DYNAMATH.names)
        | {
            "id": name,
            "question": f"What is the slope of line {name}?",
            "decoded_image": hub_image(int(name)),
            "ground_truth": answer,
            "answer_type": "float",
            "subject": "analytic geometry",
        }
        | changes
    )


def test_the_variants_of_a_dynamath_question_are_one_group(intake: Intake, tmp_path: Path) -> None:
    for variant in (1, 2):
        rows = [
            dynamath("7", f"{variant}.5", decoded_image=hub_image(variant)),
            dynamath("8", "B", answer_type="multiple choice", question="Which? choice: (A) one (B) two")
            | {"decoded_image": hub_image(10 + variant)},
        ]
        path = tmp_path / f"data/sample_variant{variant}-00000-of-00001.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, DYNAMATH), path)
    problems, bad = intake(kind="dynamath", path=tmp_path)
    assert not bad and set(problems) == {"7/1", "7/2", "8/1", "8/2"}
    assert problems["7/1"].group == problems["7/2"].group == "real/7"
    assert right(problems["7/2"], "2.5", "2.5009", "2.502") == [True, True, False]
    assert right(problems["8/1"], "B", "(B) two", "A") == [True, True, False]


def test_a_dynamath_file_is_an_object_of_rows(intake: Intake, tmp_path: Path) -> None:
    (tmp_path / "image").mkdir()
    (tmp_path / "image/image3.png").write_bytes(picture())
    row = {"question": "What is it?", "answer": "2.09", "image": "image/image3.png", "answer_type": "float"}
    (tmp_path / "dataset.json").write_text(json.dumps({"3": row | {"subject": "algebra", "level": "high school"}}))
    problems, bad = intake(kind="dynamath", path=tmp_path)
    assert not bad and problems["3"].group == "real/3" and problems["3"].family == "algebra"


def test_a_we_math_problem_and_its_steps_are_one_group(intake: Intake, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    rows = [
        {"ID": "2steps_9", "key": f"2steps_{step}", "question": f"How long is side {step}?", "answer": "B"}
        | {"option": "A. 3, or 4;B. 4; C. No correct answer", "image_path": "a.png", "question number": 9}
        for step in ("1", "2", "multi")
    ]
    rows.append(rows[0] | {"ID": "2steps_10", "option": "A. B;B. C; C. No correct answer"})
    rows.append(rows[0] | {"ID": "2steps_11", "key": "4steps_1"})
    (tmp_path / "testmini.json").write_text(json.dumps(rows))
    problems, bad = intake(kind="we_math", path=tmp_path)
    assert set(problems) == {"2steps_9/1", "2steps_9/2", "2steps_9/multi", "2steps_10/1"} and bad == {4: "bad_value"}
    assert problems["2steps_9/1"].choices == ("3, or 4", "4", "No correct answer")
    assert problems["2steps_9/multi"].family == "2steps_multi"
    assert right(problems["2steps_10/1"], "B", "A", "C") == [True, False, False]


def test_all_right_choices_of_logicvista_must_be_named(intake: Intake, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    rows = {}
    for number, answer in enumerate(("C", "A, C", "3")):
        (tmp_path / f"images/v1_{number}.png").write_bytes(picture(number))
        rows[f"v1_{number}"] = {"imagename": f"v1_{number}.png", "question": "Which belong together (A-D)?"} | {
            "answer": answer,
            "skill": ["inductive"],
            "capability": ["diagram"],
        }
    (tmp_path / "dataset.json").write_text(json.dumps(rows))
    problems, bad = intake(kind="logicvista", path=tmp_path, images=tmp_path / "images")
    assert not bad and problems["v1_0"].family == "inductive"
    assert right(problems["v1_0"], "C", "(C)", "A") == [True, True, False]
    assert right(problems["v1_1"], "A, C", "A and C", "A", "C") == [True, True, False, False]
    assert right(problems["v1_2"], "3", "4") == [True, False]


@pytest.mark.parametrize(
    ("benchmark", "gold", "near", "far"),
    [("DynaMath", "2.5", "2.501", "2.5011"), ("MMMU", "8.333", "8.33", "8.3"), ("dynamath", "3", "2.999", "2.9")],
)
def test_answers_from_elsewhere_are_graded_by_the_same_rules(benchmark: str, gold: str, near: str, far: str) -> None:
    target = rules.target_of(Problem("p", "s", "What is it?", gold), benchmark)
    verdicts = [decided.verdict for answer in (near, far) if (decided := rules.decide(target, answer))]
    assert verdicts == [Verdict.CORRECT, Verdict.INCORRECT]


def real(name: str) -> Path:
    return published(f"real/{name}")


def test_published_rows_of_we_math_are_right_by_their_letters_and_by_no_others(intake: Intake) -> None:
    problems, bad = intake(kind="we_math", path=real("we_math"))
    rows = json.loads((real("we_math") / "testmini.json").read_text())
    assert len(problems) == len(rows) == 219 and not bad
    for row in rows:
        problem = problems[f"{row['ID']}/{row['key'].partition('_')[2]}"]
        letters = "ABCDEFGH"[: len(problem.choices)]
        assert right(problem, *letters) == [letter == row["answer"] for letter in letters], problem.problem_id


def test_published_rows_of_dynamath_are_right_by_their_own_answers(intake: Intake) -> None:
    problems, bad = intake(kind="dynamath", path=real("dynamath"))
    assert len(problems) == 51 and not bad
    assert all(right(problem, problem.answer) == [True] for problem in problems.values())
