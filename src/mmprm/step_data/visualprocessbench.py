"""Reader of OpenGVLab/VisualProcessBench: 2,866 solutions whose steps people judged. A line of test.jsonl:

    {"image": ["images/MathVision/1.jpg"], "question": "<image>\\nHow many …?", "answer": "4",
     "response": {"steps": ["First, …", …], "process_correctness": [1, 0, -1]},
     "policy_model": "GPT-4o", "data_source": "MathVision"}

1 is right, -1 wrong, 0 neutral (no label). Unpack images.zip first. `subset` is the data source.
"""

from typing import Any

from mmprm.problems.rows import RowRefusedError
from mmprm.step_data.raw_step_row import NO_LABEL, RawStepRow, external_label, read_integer, read_list

COLUMNS = ("image", "question", "response")


def read(row: dict[str, Any]) -> RawStepRow:
    """Return the row's solution. Raises RowRefusedError if a judgement is none of the three."""
    response = row.get("response")
    if not isinstance(response, dict):
        raise RowRefusedError("bad_value", "response is not an object with steps and process_correctness")
    values = read_list(response, "process_correctness")
    judgements = [read_integer(value, "process_correctness", (1, 0, -1)) for value in values]
    labels = [external_label(judgement == 1) if judgement else NO_LABEL for judgement in judgements]
    return RawStepRow(
        row.get("question"),
        read_list(response, "steps"),
        labels,
        image=row.get("image"),
        has_image=True,
        answer=row.get("answer"),
        subset=row.get("data_source"),
    )
