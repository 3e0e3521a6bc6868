"""Reader of hitsmy/PRMBench_Preview: right solutions into which errors were inserted. A line, text only:

    {"idx": "circular_prm_test_p1_0", "original_question": "…", "modified_question": "Three pencils and …",
     "original_process": ["1. Let's call …", …], "modified_process": ["1. Let's call …", …], "modified_steps": [3],
     "error_steps": [3, 4], "reason": "…", "classification": "circular"}

The modified question and process are judged, as in the official evaluation. `error_steps` counts from 1; every other
step is right. `subset` is the class of the error.
"""

from typing import Any

from mmprm.problems.rows import RowRefusedError
from mmprm.step_data.raw_step_row import RawStepRow, external_label, read_integer, read_list

COLUMNS = ("modified_question", "modified_process", "error_steps", "classification")


def read(row: dict[str, Any]) -> RawStepRow:
    """Return the row's solution. Raises RowRefusedError if an error is at a step that does not exist."""
    steps = read_list(row, "modified_process")
    errors = row.get("error_steps")
    if not isinstance(errors, list):  # an empty list: the solution is right
        raise RowRefusedError("missing_value", "error_steps is not a list")
    numbers = range(1, len(steps) + 1)
    wrong = {read_integer(error, "error_steps", numbers) for error in errors}
    labels = [external_label(number not in wrong) for number in numbers]
    return RawStepRow(row.get("modified_question"), steps, labels, subset=row.get("classification"))
