"""Qwen/ProcessBench (gsm8k.json, math.json, olympiadbench.json, omnimath.json). A row, of text alone:

    {"id": "gsm8k-0", "generator": "Qwen2-7B-Instruct", "problem": "Sue lives in …", "steps": ["To find out …", …],
     "final_answer_correct": false, "label": 1}

`label` is the first wrong step, counted from 0; -1 where there is none. What follows the first error has no label.
`subset` is what the id begins with: gsm8k, math, olympiadbench or omnimath.
"""

from __future__ import annotations

from typing import Any

from mmprm.step_data.raw_step_row import UNKNOWN, RawStepRow, given, list_of, whole_number

COLUMNS = ("id", "problem", "steps", "label")


def read(row: dict[str, Any]) -> RawStepRow:
    """The row's solution; RefusedError where the label names no step."""
    steps = list_of(row, "steps")
    error = whole_number(row.get("label"), "label", range(-1, len(steps)))
    right = len(steps) if error == -1 else error
    labels = [given(place < right) if place <= right else UNKNOWN for place in range(len(steps))]
    name = row.get("id")
    subset = name.rpartition("-")[0] if isinstance(name, str) else None
    return RawStepRow(row.get("problem"), steps, labels, subset=subset or None)
