"""MathLLMs/MathVision, test and testmini. A row:

    {"id": "84", "question": "The road from Anna's to Mary's house is … John's house?\\n<image1>",
     "options": ["$7 \\\\mathrm{~km}$", …], "image": "images/84.jpg", "decoded_image": {"bytes": …, "path": "84.jpg"},
     "answer": "E", "solution": null, "level": 2, "subject": "arithmetic"}

The gold answer of a choice is its letter. Options that are only letters are drawn in the picture and are not repeated.
A problem has one picture, which may hold what the question calls <image1> and <image2>. Answers that are numbers are
compared after rounding to two places, as the official evaluation does. `solution` is prose and is not taken.
"""

import re
from typing import Any

from mmprm.config.sources import MathVisionSource
from mmprm.problems.fields import RowFields
from mmprm.problems.rows import RowRefusedError

COLUMNS = ("id", "question", "options", "decoded_image", "answer", "subject")
_LETTER = re.compile(r"\(?([A-Z])[).]?")


def fields(row: dict[str, Any], source: MathVisionSource) -> RowFields:
    """Read the row; RowRefusedError where the answer of a choice is no letter of its options."""
    options = row.get("options") or []
    if not isinstance(options, list):
        raise RowRefusedError("bad_value", f"options are not a list but {type(options).__name__}")
    if options and row.get("answer") not in (letters := [chr(ord("A") + index) for index in range(len(options))]):
        raise RowRefusedError("bad_value", f"the answer {row.get('answer')!r} is none of {', '.join(letters)}")
    return RowFields(
        id=row.get("id"),
        question=row.get("question"),
        answer=row.get("answer"),
        image=row.get("decoded_image"),
        choices=None if _are_letters(options) else options,
        answer_type="choice" if options else "auto",
        family=row.get("subject"),
        precision=None if options else 2,
    )


def _are_letters(options: list[Any]) -> bool:
    """Tell whether the options are only A, B, C, … in order."""
    letters = [_LETTER.fullmatch(option.strip()) if isinstance(option, str) else None for option in options]
    return all(letter and letter[1] == chr(ord("A") + index) for index, letter in enumerate(letters))
