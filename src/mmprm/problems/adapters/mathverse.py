"""AI4Math/MathVerse, testmini: 788 problems, each in five versions. A row:

    {"sample_index": "1", "problem_index": "1", "problem_version": "Text Dominant",
     "question": "As shown in the figure, in triangle ABC, … is ()\\nChoices:\\nA:60°\\nB:75°\\nC:85°\\nD:90°",
     "image": {"bytes": …, "path": null}, "answer": "C", "question_type": "multi-choice", "metadata": {…},
     "query_wo": "Please directly answer …", "query_cot": "Please first conduct reasoning, …\\nQuestion: As shown …",
     "question_for_eval": "…"}

The question is `query_cot`, the official prompt for reasoning: the version Vision Only has hardly any `question`, since
the picture has it, with its options. The versions of a problem are one group, and `family` is the version.
"""

from typing import Any

from mmprm.config.sources import MathVerseSource
from mmprm.problems.fields import RowFields
from mmprm.problems.rows import RowRefusedError

COLUMNS = ("sample_index", "problem_index", "problem_version", "image", "answer", "question_type", "query_cot")
VERSIONS = ("Text Dominant", "Text Lite", "Vision Intensive", "Vision Dominant", "Vision Only")
_ANSWER_TYPES = {"multi-choice": "choice", "free-form": "auto"}


def fields(row: dict[str, Any], source: MathVerseSource) -> RowFields:
    """Read the row; RowRefusedError for a version or a question type that was not published."""
    if row.get("problem_version") not in VERSIONS:
        raise RowRefusedError("bad_value", f"problem_version {row.get('problem_version')!r} is not one of {VERSIONS}")
    if row.get("question_type") not in _ANSWER_TYPES:
        raise RowRefusedError(
            "bad_value", f"question_type {row.get('question_type')!r} is not multi-choice or free-form"
        )
    if row.get("problem_index") in (None, ""):
        raise RowRefusedError("missing_value", "there is no value for problem_index")
    return RowFields(
        id=row.get("sample_index"),
        question=row.get("query_cot"),
        answer=row.get("answer"),
        image=row.get("image"),
        answer_type=_ANSWER_TYPES[row["question_type"]],
        family=row["problem_version"],
        group=row["problem_index"],
    )
