"""Readers of published step data. In: a row of a published form. Out: a `RawStepRow`, not yet checked.

Every reader raises RowRefusedError for a row that is not of its form.
"""

from collections.abc import Callable
from typing import Any

from mmprm.labels.evidence import Label
from mmprm.problems.refusals import RowRefusedError
from mmprm.step_data.exported import COLUMNS, FURTHER, read_exported
from mmprm.step_data.raw import RawStepRow, integer_of, list_of

NO_LABEL = Label(None, None, None, "none")


def _external_label(right: bool) -> Label:
    """Return the label of a step that was judged right or wrong without rollout counts."""
    return Label(None, None, int(right), "given")


def _math_shepherd(row: dict[str, Any]) -> RawStepRow:
    """Read trl-lib/math_shepherd, in the "stepwise supervision" form; of other tables `images` too, where they have it.

        {"prompt": "Janet's ducks lay 16 eggs …", "completions": ["Step 1: She eats 3 …", …], "labels": [true, false]}

    A label says whether any rollout from the step reached the right answer; the counts were not published.
    """
    labels = list_of(row, "labels")
    if not all(isinstance(label, bool) for label in labels):
        raise RowRefusedError("bad_value", f"labels are true or false, these are {labels!r:.80}")
    given = [_external_label(label) for label in labels]
    return RawStepRow(row.get("prompt"), list_of(row, "completions"), given, row.get("images") or None)


def _prmbench(row: dict[str, Any]) -> RawStepRow:
    """Read hitsmy/PRMBench_Preview: right solutions into which errors were inserted, text only.

        {"idx": "circular_prm_test_p1_0", "original_question": "…", "modified_question": "Three pencils and …",
         "original_process": ["1. Let's call …", …], "modified_process": ["1. Let's call …", …], "modified_steps": [3],
         "error_steps": [3, 4], "reason": "…", "classification": "circular"}

    The modified question and process are judged, as in the official evaluation. `error_steps` counts from 1; every
    other step is right. `subset` is the class of the error.
    """
    steps = list_of(row, "modified_process")
    errors = row.get("error_steps")
    if not isinstance(errors, list):  # an empty list: the solution is right
        raise RowRefusedError("missing_value", "error_steps is not a list")
    numbers = range(1, len(steps) + 1)
    wrong = {integer_of(error, "error_steps", numbers) for error in errors}
    labels = [_external_label(number not in wrong) for number in numbers]
    return RawStepRow(row.get("modified_question"), steps, labels, subset=row.get("classification"))


def _processbench(row: dict[str, Any]) -> RawStepRow:
    """Read Qwen/ProcessBench (gsm8k.json, math.json, olympiadbench.json, omnimath.json), text only.

        {"id": "gsm8k-0", "generator": "Qwen2-7B-Instruct", "problem": "Sue lives in …", "steps": ["To find out …", …],
         "final_answer_correct": false, "label": 1}

    `label` is the index of the first wrong step, -1 if there is none. The steps behind the first error have no label.
    `subset` is the first part of the id: gsm8k, math, olympiadbench or omnimath.
    """
    steps = list_of(row, "steps")
    first_error = integer_of(row.get("label"), "label", range(-1, len(steps)))
    n_right = len(steps) if first_error == -1 else first_error
    labels = [_external_label(index < n_right) if index <= n_right else NO_LABEL for index in range(len(steps))]
    row_id = row.get("id")
    subset = row_id.rpartition("-")[0] if isinstance(row_id, str) else None
    return RawStepRow(row.get("problem"), steps, labels, subset=subset or None)


def _visualprocessbench(row: dict[str, Any]) -> RawStepRow:
    r"""Read OpenGVLab/VisualProcessBench (test.jsonl; unpack images.zip first): steps that people judged.

        {"image": ["images/MathVision/1.jpg"], "question": "<image>\nHow many …?", "answer": "4",
         "response": {"steps": ["First, …", …], "process_correctness": [1, 0, -1]},
         "policy_model": "GPT-4o", "data_source": "MathVision"}

    1 is right, -1 wrong, 0 neutral (no label). `subset` is the data source.
    """
    response = row.get("response")
    if not isinstance(response, dict):
        raise RowRefusedError("bad_value", "response is not an object with steps and process_correctness")
    values = list_of(response, "process_correctness")
    judgements = [integer_of(value, "process_correctness", (1, 0, -1)) for value in values]
    labels = [_external_label(judgement == 1) if judgement else NO_LABEL for judgement in judgements]
    shown = (row.get("question"), list_of(response, "steps"), labels, row.get("image"))
    return RawStepRow(*shown, has_image=True, answer=row.get("answer"), subset=row.get("data_source"))


def _visualprm400k(row: dict[str, Any]) -> RawStepRow:
    """Read OpenGVLab/VisualPRM400K-v1.1-Raw (unpack annotations.zip, images.zip first): Monte Carlo counts per step.

        {"image": "images/1.png", "question": "Solve … step by step: What is …?", "question_orig": "What is …?",
         "answer": "B", "response": "…", "num_mc_sequences": 16,
         "steps_with_score": [{"step": "First, …", "score": 0.75, "num_mc_correct": 12, "num_mc_total": 16}, …]}

    The problem shows `question_orig`, since `question` holds the prompt of the model that was sampled. Each prefix was
    sampled separately, so that by chance a prefix may have no right rollout although a longer one has. Its hard label
    is 1 then, since the right completion of the longer prefix completes it too (arXiv 2406.06592, section 3). Soft
    labels stay as they were measured.
    """
    steps = list_of(row, "steps_with_score")
    counts = [_counts(step, row.get("num_mc_sequences")) for step in steps]
    last = max((index for index, (correct, _) in enumerate(counts) if correct), default=-1)
    labels = [Label(*pair, int(index <= last), "probed") for index, pair in enumerate(counts)]
    question, texts = row.get("question_orig") or row.get("question"), [step.get("step") for step in steps]
    return RawStepRow(question, texts, labels, row.get("image"), has_image=True, answer=row.get("answer"))


def _counts(step: Any, sequences: Any) -> tuple[int, int]:
    """Return (right rollouts, rollouts) of a step, from its score and `sequences` if it does not state them."""
    if not isinstance(step, dict):
        raise RowRefusedError("bad_value", f"a step is not an object but {type(step).__name__}")
    if step.get("num_mc_total") is not None:
        correct = integer_of(step.get("num_mc_correct"), "num_mc_correct")
        total = integer_of(step["num_mc_total"], "num_mc_total")
    else:
        total = integer_of(sequences, "num_mc_sequences")
        score = step.get("score")
        if not isinstance(score, int | float) or abs(score * total - round(score * total)) > 1e-3 * total:
            raise RowRefusedError("bad_value", f"a step's score {score!r} is no share of {total} rollouts")
        correct = round(score * total)
    if not 0 <= correct <= total or total == 0:
        raise RowRefusedError("bad_value", f"a step has {correct} right ones of {total} rollouts")
    return correct, total


# Columns that are read where a file has them.
OPTIONAL: dict[str, tuple[str, ...]] = {
    "math_shepherd": ("images",),
    "exported": FURTHER,
    "visualprm400k": ("question_orig", "answer", "num_mc_sequences"),
    "visualprocessbench": ("answer", "data_source"),
}
# For each kind of source the columns that its files must have, and the reader of a row.
READERS: dict[str, tuple[tuple[str, ...], Callable[[dict[str, Any]], RawStepRow]]] = {
    "visualprm400k": (("image", "question", "steps_with_score"), _visualprm400k),
    "math_shepherd": (("prompt", "completions", "labels"), _math_shepherd),
    "visualprocessbench": (("image", "question", "response"), _visualprocessbench),
    "processbench": (("id", "problem", "steps", "label"), _processbench),
    "exported": (COLUMNS, read_exported),
    "prmbench": (("modified_question", "modified_process", "error_steps", "classification"), _prmbench),
}
