"""Readers of published data sets and of tables. In: a row and its source. Out: `RowFields`; the docstrings show rows.

RowRefusedError where a row is not as it was published. READERS: kind -> the needed columns, the id first; the reader.
"""

import re
from collections.abc import Callable
from typing import Any

from mmprm.config.sources import ImageFolderSource, MathVistaSource, TableSource
from mmprm.problems.fields import RowFields
from mmprm.problems.refusals import RowRefusedError
from mmprm.problems.values import text_of

TABLE_COLUMNS = ("id", "question", "answer", "image")
VERSIONS = ("Text Dominant", "Text Lite", "Vision Intensive", "Vision Dominant", "Vision Only")
TEXT_ONLY = "Text Only"  # the version of testmini_text_only
_MATHVERSE_TYPES = {"multi-choice": "choice", "free-form": "auto"}
_MATHVISTA_TYPES = {"text": "auto", "integer": "integer", "float": "number", "list": "auto"}
_OLYMPIAD_TYPES = ("Numerical", "Expression", "Equation", "Tuple", "Interval")
_LETTER = re.compile(r"\(?([A-Z])[).]?")
_NO_IMAGE: tuple[Any, ...] = (
    None,
    "",
    [],
    {"bytes": None, "path": None},
)  # as CSV, JSON and the hub's Image feature have an empty cell
_CHOICE = "choice "  # and a number: one of several columns of choices


def table_columns(source: TableSource | ImageFolderSource) -> dict[str, str]:
    """Map our columns to theirs, for every column that is read.

    TABLE_COLUMNS have these names unless the source maps them (`columns: {ours: theirs}`, config.sources.Column); other
    columns are read only where it maps them. An empty name means that there is no such column (`image: ""` for problems
    without images; `id: ""`: the row's number).
    """
    mapped: dict[str, str] = {ours: ours for ours in TABLE_COLUMNS}
    if isinstance(source, ImageFolderSource):
        mapped |= {"id": "file_name", "image": "file_name"}
    mapped.update(source.columns.items())
    if "," in (several := mapped.get("choices", "")):
        del mapped["choices"]
        mapped |= {f"{_CHOICE}{number}": name.strip() for number, name in enumerate(several.split(","))}
    return {ours: theirs for ours, theirs in mapped.items() if theirs}


def table(row: dict[str, Any], columns: dict[str, str], source: TableSource | ImageFolderSource) -> RowFields:
    """Read a row of a table of any form. With `columns: {image: image_path}`, and of a folder of images:

    {"id": "4d613249", "question": "Given the function …", "answer": "$2$", "image_path": "images/4d613249.png"}
    {"file_name": "train/4d613249.png", "question": "Given the function …", "answer": "$2$"}
    """
    values: dict[str, Any] = dict.fromkeys(TABLE_COLUMNS) | {ours: row.get(theirs) for ours, theirs in columns.items()}
    if several := [values.pop(ours) for ours in columns if ours.startswith(_CHOICE)]:
        while several and several[-1] is None:  # MMBench has four columns, and questions with two options
            several.pop()
        values["choices"] = several
    if source.image_optional and values["image"] in _NO_IMAGE:
        values["image"] = None
    return RowFields(
        **values,
        has_image="image" in columns and not source.image_optional,
        answer_is=source.answer_is,
        places=True,
        composite=source.composite,
    )


def mm_k12(row: dict[str, Any]) -> RowFields:
    """Read a row of MM-K12. One of Cierra0506/MM-K12 (`image` may be a path), and one of the 500 test problems:

        {"id": "4d61…", "question": "Given the …", "answer": "$$0.49$$", "image": {"bytes": …, "path": "1.png"}}
        {"id": "4d61…", "question": "Given the …", "answer": "$$0.49$$", "image_path": "images/4d61….png"}

    One of FanqingM/MMK12, whose test problems have their options in the question:

        {"id": "ab12…", "question": "… ( ) A. 2 B. 3 C. 4 D. 5", "answer": "B", "subject": "math", "image": {…}}

    The question is not changed; whether an answer is an option's letter is decided in grading.
    """
    image = row.get("image") if row.get("image") is not None else row.get("image_path")
    return RowFields(row.get("id"), row.get("question"), row.get("answer"), image, family=row.get("subject"))


def mathvista(row: dict[str, Any], source: MathVistaSource) -> RowFields:
    """Read a row of AI4Math/MathVista, testmini (`query` is the official prompt: hint, question with unit, choices):

        {"pid": "1", "question": "When a spring does work on an object, …", "image": "images/1.jpg",
         "decoded_image": {…}, "choices": null, "unit": null, "precision": 1.0, "answer": "1.2",
         "question_type": "free_form", "answer_type": "float", "metadata": {"task": "textbook …", …},
         "query": "Hint: Please …"}
        {"pid": "6", "question": "… then the length of AC is ()", "choices": ["6cm", "7cm", "4cm", "5cm"],
         "unit": null, "precision": null, "answer": "6cm", "question_type": "multi_choice", "answer_type": "text", …}

    The question is `question`, with ` (Unit: …)` where there is a unit, as in the official prompt; with `hints: true`
    the official hint about the answer's form comes before it. The gold answer of a choice is its text. Floats are
    compared after rounding to `precision` places, integers after an answer's fraction is dropped, as in the official
    evaluation.
    """
    question_type, answer_type = row.get("question_type"), row.get("answer_type")
    if question_type not in ("multi_choice", "free_form"):
        raise RowRefusedError("bad_value", f"question_type {question_type!r} is not multi_choice or free_form")
    if answer_type not in _MATHVISTA_TYPES:
        raise RowRefusedError("bad_value", f"answer_type {answer_type!r} is not one of {list(_MATHVISTA_TYPES)}")
    is_choice = question_type == "multi_choice"
    if is_choice and row.get("answer") not in (row.get("choices") or []):
        raise RowRefusedError("bad_value", f"the answer {row.get('answer')!r} is none of the choices")
    question = _with_unit(row.get("question"), row.get("unit"))
    if source.hints and question:
        hint, separator, _ = text_of(row.get("query") or "", "query").partition("\nQuestion:")
        if not separator or not hint.startswith("Hint:"):
            raise RowRefusedError("bad_value", "query does not start with a hint; set hints: false")
        question = f"{hint}\nQuestion: {question}"
    metadata = row.get("metadata")
    return RowFields(
        id=row.get("pid"),
        question=question,
        answer=row.get("answer"),
        image=row.get("decoded_image"),
        choices=row.get("choices") if is_choice else None,
        answer_type="choice" if is_choice else _MATHVISTA_TYPES[answer_type],
        family=metadata.get("task") if isinstance(metadata, dict) else None,
        precision=row.get("precision"),
        unit=row.get("unit"),
    )


def mathverse(row: dict[str, Any]) -> RowFields:
    r"""Read a row of AI4Math/MathVerse, testmini: 788 problems, each in five versions:

        {"sample_index": "1", "problem_index": "1", "problem_version": "Text Dominant",
         "question": "As shown in the figure, in triangle ABC, … is ()\nChoices:\nA:60°\nB:75°\nC:85°\nD:90°",
         "image": {"bytes": …, "path": null}, "answer": "C", "question_type": "multi-choice", "metadata": {…},
         "query_wo": "Please directly answer …", "query_cot": "Please first conduct …\nQuestion: As shown …",
         "question_for_eval": "…"}

    The question is `query_cot`, the official prompt for reasoning: the version Vision Only has hardly any `question`,
    since the picture has it, with its options. The versions of a problem are one group, and `family` is the version.
    The rows of testmini_text_only, version Text Only, have no picture.
    """
    version, question_type = row.get("problem_version"), row.get("question_type")
    if version not in (*VERSIONS, TEXT_ONLY):
        raise RowRefusedError("bad_value", f"problem_version {version!r} is not one of {VERSIONS}")
    if question_type not in _MATHVERSE_TYPES:
        raise RowRefusedError("bad_value", f"question_type {question_type!r} is not multi-choice or free-form")
    if row.get("problem_index") in (None, ""):
        raise RowRefusedError("missing_value", "there is no value for problem_index")
    return RowFields(
        id=row.get("sample_index"),
        question=row.get("query_cot"),
        answer=row.get("answer"),
        image=row.get("image"),
        has_image=version != TEXT_ONLY,
        answer_type=_MATHVERSE_TYPES[question_type],
        family=version,
        group=row["problem_index"],
    )


def mathvision(row: dict[str, Any]) -> RowFields:
    r"""Read a row of MathLLMs/MathVision, test and testmini:

        {"id": "84", "question": "The road from Anna's to Mary's house is … John's house?\n<image1>",
         "options": ["$7 \\mathrm{~km}$", …], "image": "images/84.jpg",
         "decoded_image": {"bytes": …, "path": "84.jpg"}, "answer": "E", "solution": null, "level": 2,
         "subject": "arithmetic"}

    The gold answer of a choice is its letter. Options that are only letters are drawn in the picture and are not
    repeated. A problem has one picture, which may hold what the question calls <image1> and <image2>. Answers that are
    numbers are compared after rounding to two places, as in the official evaluation. `solution` is prose and not taken.
    """
    options = row.get("options") or []
    if not isinstance(options, list):
        raise RowRefusedError("bad_value", f"options are not a list but {type(options).__name__}")
    letters = [chr(ord("A") + index) for index in range(len(options))]
    if options and row.get("answer") not in letters:
        raise RowRefusedError("bad_value", f"the answer {row.get('answer')!r} is none of {', '.join(letters)}")
    named = [_LETTER.fullmatch(option.strip()) if isinstance(option, str) else None for option in options]
    return RowFields(
        id=row.get("id"),
        question=row.get("question"),
        answer=row.get("answer"),
        image=row.get("decoded_image"),
        choices=None if [match and match[1] for match in named] == letters else options,
        answer_type="choice" if options else "auto",
        family=row.get("subject"),
        precision=None if options else 2,
        answer_is="letter",
    )


def olympiadbench(row: dict[str, Any]) -> RowFields:
    r"""Read a row of Hothan/OlympiadBench, OE_MM_maths_en_COMP: 150 problems with one to five pictures:

        {"id": 1606, "question": "Let $T$ be … in <image_1>. Compute …", "solution": ["…"],
         "final_answer": ["$8 \\pi$"], "context": null, "image_1": {"bytes": …, "path": …}, "image_2": null, …,
         "image_9": null, "modality": "Multimodal", "difficulty": "Competition", "is_multiple_answer": false,
         "unit": null, "answer_type": "Numerical", "error": null, "question_type": "Open-ended",
         "subfield": "Geometry", "subject": "Math", "language": "English"}

    The question is the context, if any, then the question, with ` (Unit: …)` where there is a unit. The pictures are in
    the order of their columns; a question that names a missing one is refused. `final_answer` may have several entries,
    which are joined by commas. `error` is the tolerance of a numerical answer: one, or one for each number.
    """
    types = text.split(",") if isinstance(text := row.get("answer_type"), str) else []
    if not types or any(kind.strip() not in _OLYMPIAD_TYPES for kind in types):
        raise RowRefusedError("bad_value", f"answer_type {row.get('answer_type')!r} is not of {_OLYMPIAD_TYPES}")
    images = {name: row[name] for n in range(1, 10) if row.get(name := f"image_{n}") is not None}
    question, context = row.get("question"), row.get("context")
    if isinstance(context, str) and context.strip() and isinstance(question, str):
        question = f"{context.strip()}\n{question}"
    for name in re.findall(r"<(image_\d+)>", question) if isinstance(question, str) else []:
        if name not in images:
            raise RowRefusedError("missing_value", f"the question names <{name}>, and that column has no picture")
    return RowFields(
        id=row.get("id"),
        question=_with_unit(question, row.get("unit")),
        answer=row.get("final_answer"),
        image=list(images.values()),
        answer_type="number" if types == ["Numerical"] and not row.get("is_multiple_answer") else "expression",
        family=row.get("subfield"),
        unit=row.get("unit"),
        tolerance=row.get("error"),
    )


def _with_unit(question: Any, unit: Any) -> Any:
    """Append the unit to the question; a value that is no text is left for fields.py to refuse."""
    return f"{question.strip()} (Unit: {unit})" if isinstance(question, str) and question.strip() and unit else question


# Columns that are read where a file has them.
OPTIONAL = {
    "mm_k12": "image image_path subject",
    "mathvista": "metadata",
    "mathverse": "image",
    "olympiadbench": "image_2 image_3 image_4 image_5 image_6 image_7 image_8 image_9 subfield",
}
READERS: dict[str, tuple[str, Callable[..., RowFields]]] = {
    "mm_k12": ("id question answer", mm_k12),  # and image or image_path
    "mathvista": (
        "pid question decoded_image choices unit precision answer question_type answer_type query",
        mathvista,
    ),
    "mathverse": ("sample_index problem_index problem_version answer question_type query_cot", mathverse),
    "mathvision": ("id question options decoded_image answer subject", mathvision),
    "olympiadbench": (
        "id question final_answer context image_1 is_multiple_answer unit answer_type error",
        olympiadbench,
    ),
}
