"""hitsmy/PRMBench_Preview: right solutions into which errors were put. A line, of text alone:

    {"idx": "circular_prm_test_p1_0", "original_question": "…", "modified_question": "Three pencils and …",
     "original_process": ["1. Let's call …", …], "modified_process": ["1. Let's call …", …], "modified_steps": [3],
     "error_steps": [3, 4], "reason": "…", "classification": "circular"}

The modified question and process are judged, as in the official evaluation. `error_steps` counts from 1; every other
step is right. `subset` is the class of the error.
"""

from __future__ import annotations

from typing import Any

from mmprm.problems.images import RowRefusedError
from mmprm.step_data.raw_step_row import RawStepRow, given, list_of, whole_number

COLUMNS = ("modified_question", "modified_process", "error_steps", "classification")


def read(row: dict[str, Any]) -> RawStepRow:
    """The row's solution; RefusedError where an error is at no step."""
    steps = list_of(row, "modified_process")
    errors = row.get("error_steps")
    if not isinstance(errors, list):  # an empty list: the solution is right
        raise RowRefusedError("missing_value", "error_steps is not a list")
    wrong = {whole_number(place, "error_steps", range(1, len(steps) + 1)) for place in errors}
    labels = [given(place not in wrong) for place in range(1, len(steps) + 1)]
    return RawStepRow(row.get("modified_question"), steps, labels, subset=row.get("classification"))
