"""MM-K12 in its published forms. A row of Cierra0506/MM-K12 (`image` may be a path), and of the 500 test problems:

    {"id": "4d61…", "question": "Given the function …", "answer": "$$0.49$$", "image": {"bytes": …, "path": "1.png"}}
    {"id": "4d61…", "question": "Given the function …", "answer": "$$0.49$$", "image_path": "images/4d61….png"}

A row of FanqingM/MMK12, whose test problems have their options in the question:

    {"id": "ab12…", "question": "… is ( ) A. 2 B. 3 C. 4 D. 5", "answer": "B", "subject": "math", "image": {…}}

The question is not changed; whether an answer is an option's letter is decided in grading.
"""

from typing import Any

from mmprm.config.sources import MmK12Source
from mmprm.problems.fields import RowFields

COLUMNS = ("id", "question", "answer")  # and image or image_path


def fields(row: dict[str, Any], source: MmK12Source) -> RowFields:
    """Read the row; `family` is the subject where there is one."""
    image = row.get("image") if row.get("image") is not None else row.get("image_path")
    return RowFields(row.get("id"), row.get("question"), row.get("answer"), image, family=row.get("subject"))
