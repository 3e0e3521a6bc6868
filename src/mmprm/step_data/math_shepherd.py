"""trl-lib/math_shepherd, the "stepwise supervision" form. A row, of text alone:

    {"prompt": "Janet's ducks lay 16 eggs …", "completions": ["Step 1: She eats 3 …", …], "labels": [true, true, false]}

A label says whether any rollout from the step was right; the counts were not published.
"""

from __future__ import annotations

from typing import Any

from mmprm.problems.images import RowRefusedError
from mmprm.step_data.raw_step_row import RawStepRow, given, list_of

COLUMNS = ("prompt", "completions", "labels")


def read(row: dict[str, Any]) -> RawStepRow:
    """The row's solution; RefusedError where a label is not true or false."""
    labels = list_of(row, "labels")
    if not all(isinstance(label, bool) for label in labels):
        raise RowRefusedError("bad_value", f"labels are true or false, these are {labels!r:.80}")
    return RawStepRow(row.get("prompt"), list_of(row, "completions"), [given(label) for label in labels])
