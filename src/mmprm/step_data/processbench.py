"""Reader of Qwen/ProcessBench (gsm8k.json, math.json, olympiadbench.json, omnimath.json). A row, text only:

    {"id": "gsm8k-0", "generator": "Qwen2-7B-Instruct", "problem": "Sue lives in …", "steps": ["To find out …", …],
     "final_answer_correct": false, "label": 1}

`label` is the index of the first wrong step, -1 if there is none. The steps behind the first error have no label.
`subset` is the first part of the id: gsm8k, math, olympiadbench or omnimath.
"""

from typing import Any

from mmprm.step_data.raw_step_row import NO_LABEL, RawStepRow, external_label, read_integer, read_list

COLUMNS = ("id", "problem", "steps", "label")


def read(row: dict[str, Any]) -> RawStepRow:
    """Return the row's solution. Raises RowRefusedError if the label is no index of a step."""
    steps = read_list(row, "steps")
    first_error = read_integer(row.get("label"), "label", range(-1, len(steps)))
    n_right = len(steps) if first_error == -1 else first_error
    labels = [external_label(index < n_right) if index <= n_right else NO_LABEL for index in range(len(steps))]
    row_id = row.get("id")
    subset = row_id.rpartition("-")[0] if isinstance(row_id, str) else None
    return RawStepRow(row.get("problem"), steps, labels, subset=subset or None)
