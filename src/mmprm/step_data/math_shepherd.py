"""Reader of trl-lib/math_shepherd, in the "stepwise supervision" form. A row, text only:

    {"prompt": "Janet's ducks lay 16 eggs …", "completions": ["Step 1: She eats 3 …", …], "labels": [true, true, false]}

A label says whether any rollout from the step reached the right answer; the counts were not published.
"""

from typing import Any

from mmprm.problems.rows import RowRefusedError
from mmprm.step_data.raw_step_row import RawStepRow, external_label, read_list

COLUMNS = ("prompt", "completions", "labels")


def read(row: dict[str, Any]) -> RawStepRow:
    """Return the row's solution. Raises RowRefusedError if a label is not true or false."""
    labels = read_list(row, "labels")
    if not all(isinstance(label, bool) for label in labels):
        raise RowRefusedError("bad_value", f"labels are true or false, these are {labels!r:.80}")
    return RawStepRow(row.get("prompt"), read_list(row, "completions"), [external_label(label) for label in labels])
