"""AI4Math/MathVista, testmini. Two rows (`query` is the official prompt: hint, question with unit, choices):

    {"pid": "1", "question": "When a spring does work on an object, …", "image": "images/1.jpg", "decoded_image": {…},
     "choices": null, "unit": null, "precision": 1.0, "answer": "1.2", "question_type": "free_form",
     "answer_type": "float", "metadata": {"task": "textbook question answering", …}, "query": "Hint: Please …"}
    {"pid": "6", "question": "… then the length of AC is ()", "choices": ["6cm", "7cm", "4cm", "5cm"], "unit": null,
     "precision": null, "answer": "6cm", "question_type": "multi_choice", "answer_type": "text", …}

The question is `question`, with ` (Unit: …)` where there is a unit, as in the official prompt; with `hints: true` the
official hint about the answer's form comes before it. The gold answer of a choice is its text. Floats are compared
after rounding to `precision` places, integers after an answer's fraction is dropped, as the official evaluation does.
"""

from typing import Any

from mmprm.config.sources import MathVistaSource
from mmprm.problems.fields import RowFields, text_of
from mmprm.problems.rows import RowRefusedError

COLUMNS = (
    "pid",
    "question",
    "decoded_image",
    "choices",
    "unit",
    "precision",
    "answer",
    "question_type",
    "answer_type",
    "query",
)
_ANSWER_TYPES = {"text": "auto", "integer": "integer", "float": "number", "list": "auto"}


def fields(row: dict[str, Any], source: MathVistaSource) -> RowFields:
    """Read the row; RowRefusedError where its types are none of the published ones."""
    if row.get("question_type") not in ("multi_choice", "free_form"):
        raise RowRefusedError(
            "bad_value", f"question_type {row.get('question_type')!r} is not multi_choice or free_form"
        )
    if row.get("answer_type") not in _ANSWER_TYPES:
        raise RowRefusedError(
            "bad_value", f"answer_type {row.get('answer_type')!r} is not one of {list(_ANSWER_TYPES)}"
        )
    is_choice = row["question_type"] == "multi_choice"
    if is_choice and row.get("answer") not in (row.get("choices") or []):
        raise RowRefusedError("bad_value", f"the answer {row.get('answer')!r} is none of the choices")
    metadata = row.get("metadata")
    return RowFields(
        id=row.get("pid"),
        question=_question(row, source.hints),
        answer=row.get("answer"),
        image=row.get("decoded_image"),
        choices=row.get("choices") if is_choice else None,
        answer_type="choice" if is_choice else _ANSWER_TYPES[row["answer_type"]],
        family=metadata.get("task") if isinstance(metadata, dict) else None,
        precision=row.get("precision"),
        unit=row.get("unit"),
    )


def _question(row: dict[str, Any], hints: bool) -> Any:
    question = with_unit(row.get("question"), row.get("unit"))
    if not hints or not question:
        return question
    hint, separator, _ = text_of(row.get("query") or "", "query").partition("\nQuestion:")
    if not separator or not hint.startswith("Hint:"):
        raise RowRefusedError("bad_value", "query does not start with a hint; set hints: false")
    return f"{hint}\nQuestion: {question}"


def with_unit(question: Any, unit: Any) -> Any:
    """Append the unit to the question; a value that is no text is left for fields.py to refuse."""
    return f"{question.strip()} (Unit: {unit})" if isinstance(question, str) and question.strip() and unit else question
