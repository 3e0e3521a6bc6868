"""Readers of MMMU, DynaMath, We-Math and LogicVista. In: a row. Out: `RowFields`; the docstrings show rows.

RowRefusedError where a row is not as it was published. `group` and `family` hold what the official scores need: see
evaluation/official_scores.py.
"""

import ast
import re
from collections.abc import Callable
from typing import Any

from mmprm.problems.fields import RowFields
from mmprm.problems.refusals import Row, RowRefusedError

_MMMU_TYPES = {"multiple-choice": "choice", "open": "auto"}
_DYNAMATH_TYPES = {"float": "number", "multiple choice": "choice", "text": "text"}
DYNAMATH_CLOSE = 0.001 / 1.01  # its rule is 0.001; every tolerance is widened by 1 %, see benchmark_rules.Closeness
_VARIANT = re.compile(r"variant_?(\d+)")
_LETTERS = re.compile(r"[A-J](?:\s*,\s*[A-J])*")
_STEP = re.compile(r"[23]steps_(?:[123]|multi)")


def mmmu(row: dict[str, Any]) -> RowFields:
    """Read a row of MMMU/MMMU, dev and validation (test has no answers):

        {"id": "validation_Math_1", "question": "Find the area in <image 1>. …", "options": "['3', '<image 2>']",
         "explanation": "", "image_1": {"bytes": …, "path": …}, "image_2": null, …, "image_7": null,
         "img_type": "['Diagrams']", "answer": "B", "topic_difficulty": "Easy", "question_type": "multiple-choice",
         "subfield": "Geometry"}

    The pictures are in the order of their columns. An open question may have several right answers, as a list in the
    text; its numbers are compared after rounding to two places, as in the official evaluation.
    """
    kind = row.get("question_type")
    if kind not in _MMMU_TYPES:
        raise RowRefusedError("bad_value", f"question_type {kind!r:.80} is not one of {list(_MMMU_TYPES)}")
    name, answer = row.get("id"), row.get("answer")
    images = [row[column] for n in range(1, 8) if row.get(column := f"image_{n}") is not None]
    is_choice = kind == "multiple-choice"
    return RowFields(
        id=name,
        question=row.get("question"),
        answer=answer if is_choice else _any_of(answer),
        image=images,
        choices=row.get("options") if is_choice else None,
        answer_type=_MMMU_TYPES[kind],
        family="_".join(name.split("_")[1:-1]) if isinstance(name, str) else None,  # the subject
        precision=None if is_choice else 2,
        answer_is="letter",
        places=True,
    )


def _any_of(answer: Any) -> Any:
    """Return a list of right answers, which is stored as text, as `a or b`, the form that grading reads."""
    if isinstance(answer, str) and answer.lstrip().startswith("["):
        try:
            several = ast.literal_eval(answer.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return answer
        if isinstance(several, list) and several and all(isinstance(item, str) for item in several):
            return " or ".join(several)
    return answer


def dynamath(row: dict[str, Any]) -> RowFields:
    """Read a row of DynaMath. Of dataset.json, `{id: row}`; and of DynaMath_Sample, a file for each of ten variants:

        {"1": {"question": "What is the period …?", "answer": "2.0944", "image": "image/image1.png",
               "answer_type": "float", "subject": "analytic geometry", "level": "high school"}}
        {"id": "1", "question": "What is the period …?", "image": "images/1.png", "decoded_image": {…},
         "ground_truth": "2.0944", "answer_type": "float", "subject": "analytic geometry", "knowledge_level": …}

    The variants of a question are one group; the variant's number is that of the file (`sample_variant3-….parquet`).
    Numbers may differ by 0.001. The options of a choice are in the question.
    """
    kind = row.get("answer_type")
    if kind not in _DYNAMATH_TYPES:
        raise RowRefusedError("bad_value", f"answer_type {kind!r:.80} is not one of {list(_DYNAMATH_TYPES)}")
    variant = _VARIANT.search(row.place) if isinstance(row, Row) else None
    name = row.get("id")
    answer = row.get("answer") if row.get("answer") is not None else row.get("ground_truth")
    image = row.get("decoded_image") if row.get("decoded_image") is not None else row.get("image")
    return RowFields(
        id=f"{name}/{variant[1]}" if variant and name not in (None, "") else name,
        question=row.get("question"),
        answer=answer,
        image=image,
        answer_type=_DYNAMATH_TYPES[kind],
        family=row.get("subject"),
        tolerance=DYNAMATH_CLOSE if kind == "float" else None,
        group=name,
    )


def we_math(row: dict[str, Any]) -> RowFields:
    """Read a row of We-Math's testmini.json: a problem of two or three steps, or one of its steps:

        {"ID": "2steps_1", "key": "2steps_multi", "question": "… = ( ) m", "option": "A. 300, 400;B. 400, 300; …",
         "answer": "C", "image_path": "2steps/image/1-multi.png", "knowledge concept": "…", "question number": 1, …}

    The rows of one problem are one group, and `family` is the row's part in it: 2steps_1, 2steps_2, 2steps_multi.
    """
    key, name = row.get("key"), row.get("ID")
    if not isinstance(key, str) or not _STEP.fullmatch(key):
        raise RowRefusedError("bad_value", f"key {key!r:.80} is no step of a problem of two or three steps")
    return RowFields(
        id=f"{name}/{key.partition('_')[2]}" if name not in (None, "") else None,
        question=row.get("question"),
        answer=row.get("answer"),
        image=row.get("image_path") if row.get("image_path") is not None else row.get("image"),
        choices=row.get("option"),
        answer_type="choice",
        answer_is="letter",
        family=key,
        group=name,
    )


def logicvista(row: dict[str, Any]) -> RowFields:
    """Read a row of LogicVista's dataset.json, `{id: row}`, with its pictures in images/:

        {"v1_1": {"imagename": "v1_1.png", "question": "Which choices in the image (A-D) …?", "answer": "A, C",
                  "reasoning": "…", "skill": ["inductive"], "capability": ["diagram"], …}}

    Options are drawn in the picture; where several are right, all must be named. `family` is the first skill.
    """
    answer, name, skill = row.get("answer"), row.get("imagename"), row.get("skill")
    is_choice = isinstance(answer, str) and _LETTERS.fullmatch(answer.strip())
    return RowFields(
        id=row.get("id"),
        question=row.get("question"),
        answer=answer,
        image=name,
        answer_type="choice" if is_choice else "auto",
        family=skill[0] if isinstance(skill, list) and skill else skill or None,
    )


# Columns that are read where a file has them.
OPTIONAL = {
    "mmmu": "image_2 image_3 image_4 image_5 image_6 image_7",
    "dynamath": "image decoded_image answer ground_truth subject",
    "we_math": "image_path image",
    "logicvista": "skill",
}
READERS: dict[str, tuple[str, Callable[..., RowFields]]] = {
    "mmmu": ("id question options answer image_1 question_type", mmmu),
    "dynamath": ("id question answer_type", dynamath),
    "we_math": ("ID key question option answer", we_math),
    "logicvista": ("id question answer imagename", logicvista),
}
