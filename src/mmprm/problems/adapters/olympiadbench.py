"""Hothan/OlympiadBench, OE_MM_maths_en_COMP: 150 problems with one to five pictures. A row:

    {"id": 1606, "question": "Let $T$ be … in <image_1>. Compute …", "solution": ["…"], "final_answer": ["$8 \\\\pi$"],
     "context": null, "image_1": {"bytes": …, "path": …}, "image_2": null, …, "image_9": null, "modality": "Multimodal",
     "difficulty": "Competition", "is_multiple_answer": false, "unit": null, "answer_type": "Numerical", "error": null,
     "question_type": "Open-ended", "subfield": "Geometry", "subject": "Math", "language": "English"}

The question is the context, if any, then the question, with ` (Unit: …)` where there is a unit. The pictures are in the
order of their columns; a question that names a missing one is refused. `final_answer` may have several entries, which
are joined by commas. `error` is the tolerance of a numerical answer: one, or one for each number.
"""

import re
from typing import Any

from mmprm.config.sources import OlympiadBenchSource
from mmprm.problems.adapters.mathvista import with_unit
from mmprm.problems.fields import RowFields
from mmprm.problems.rows import RowRefusedError

COLUMNS = ("id", "question", "final_answer", "context", "image_1", "is_multiple_answer", "unit", "answer_type", "error")
_ANSWER_TYPES = ("Numerical", "Expression", "Equation", "Tuple", "Interval")
_IMAGES = [f"image_{number}" for number in range(1, 10)]
_NAMED = re.compile(r"<(image_\d+)>")


def fields(row: dict[str, Any], source: OlympiadBenchSource) -> RowFields:
    """Read the row; RowRefusedError for an unpublished answer type, or a picture that is named and missing."""
    types = text.split(",") if isinstance(text := row.get("answer_type"), str) else []
    if not types or any(kind.strip() not in _ANSWER_TYPES for kind in types):
        raise RowRefusedError("bad_value", f"answer_type {row.get('answer_type')!r} is not of {_ANSWER_TYPES}")
    images = {name: row[name] for name in _IMAGES if row.get(name) is not None}
    question, context = row.get("question"), row.get("context")
    if isinstance(context, str) and context.strip() and isinstance(question, str):
        question = f"{context.strip()}\n{question}"
    for name in _NAMED.findall(question) if isinstance(question, str) else []:
        if name not in images:
            raise RowRefusedError("missing_value", f"the question names <{name}>, and that column has no picture")
    numerical = types == ["Numerical"] and not row.get("is_multiple_answer")
    return RowFields(
        id=row.get("id"),
        question=with_unit(question, row.get("unit")),
        answer=row.get("final_answer"),
        image=list(images.values()),
        answer_type="number" if numerical else "expression",
        family=row.get("subfield"),
        unit=row.get("unit"),
        tolerance=row.get("error"),
    )
