"""Reader of OpenGVLab/VisualPRM400K-v1.1-Raw: solutions with Monte Carlo counts at each step. A line of a file:

    {"image": "images/1.png", "question": "Solve … step by step: What is …?", "question_orig": "What is …?",
     "answer": "B", "response": "…", "num_mc_sequences": 16,
     "steps_with_score": [{"step": "First, …", "score": 0.75, "num_mc_correct": 12, "num_mc_total": 16}, …]}

Unpack the archives (annotations.zip, images.zip) first. The problem shows `question_orig`, since `question` holds the
prompt of the model that was sampled. Each prefix was sampled separately, so that by chance a prefix may have no right
rollout although a longer one has. Its hard label is 1 then, since the right completion of the longer prefix completes
it too (arXiv 2406.06592, section 3). Soft labels stay as they were measured.
"""

from typing import Any

from mmprm.labels.evidence import Label
from mmprm.problems.rows import RowRefusedError
from mmprm.step_data.raw_step_row import RawStepRow, read_integer, read_list

COLUMNS = ("image", "question", "steps_with_score")


def read(row: dict[str, Any]) -> RawStepRow:
    """Return the row's solution. Raises RowRefusedError if a step has no counts."""
    steps = read_list(row, "steps_with_score")
    counts = [_counts(step, row.get("num_mc_sequences")) for step in steps]
    last = max((index for index, (correct, _) in enumerate(counts) if correct), default=-1)
    return RawStepRow(
        question=row.get("question_orig") or row.get("question"),
        steps=[step.get("step") for step in steps],
        labels=[Label(*pair, int(index <= last), "probed") for index, pair in enumerate(counts)],
        image=row.get("image"),
        has_image=True,
        answer=row.get("answer"),
    )


def _counts(step: Any, sequences: Any) -> tuple[int, int]:
    """Return (right rollouts, rollouts) of a step, from its score and `sequences` if it does not state them."""
    if not isinstance(step, dict):
        raise RowRefusedError("bad_value", f"a step is not an object but {type(step).__name__}")
    if step.get("num_mc_total") is not None:
        correct = read_integer(step.get("num_mc_correct"), "num_mc_correct")
        total = read_integer(step["num_mc_total"], "num_mc_total")
    else:
        total = read_integer(sequences, "num_mc_sequences")
        score = step.get("score")
        if not isinstance(score, int | float) or abs(score * total - round(score * total)) > 1e-3 * total:
            raise RowRefusedError("bad_value", f"a step's score {score!r} is no share of {total} rollouts")
        correct = round(score * total)
    if not 0 <= correct <= total or total == 0:
        raise RowRefusedError("bad_value", f"a step has {correct} right ones of {total} rollouts")
    return correct, total
