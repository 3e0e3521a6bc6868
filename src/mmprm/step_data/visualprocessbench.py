"""OpenGVLab/VisualProcessBench: 2,866 solutions whose steps people judged. A line of test.jsonl:

    {"image": ["images/MathVision/1.jpg"], "question": "<image>\\nHow many …?", "answer": "4",
     "response": {"steps": ["First, …", …], "process_correctness": [1, 0, -1]},
     "policy_model": "GPT-4o", "data_source": "MathVision"}

1 is right, -1 wrong, 0 neutral: that one has no label. images.zip is to be unpacked first. `subset` is the data source.
"""

from __future__ import annotations

from typing import Any

from mmprm.problems.images import RowRefusedError
from mmprm.step_data.raw_step_row import UNKNOWN, RawStepRow, given, list_of, whole_number

COLUMNS = ("image", "question", "response")


def read(row: dict[str, Any]) -> RawStepRow:
    """The row's solution; RefusedError where a judgement is none of the three."""
    response = row.get("response")
    if not isinstance(response, dict):
        raise RowRefusedError("bad_value", "response is not an object with steps and process_correctness")
    judged = [
        whole_number(value, "process_correctness", (1, 0, -1)) for value in list_of(response, "process_correctness")
    ]
    labels = [given(value == 1) if value else UNKNOWN for value in judged]
    return RawStepRow(
        row.get("question"),
        list_of(response, "steps"),
        labels,
        image=row.get("image"),
        has_image=True,
        answer=row.get("answer"),
        subset=row.get("data_source"),
    )
