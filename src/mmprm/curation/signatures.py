"""Signatures: what curation needs of a problem. In: a row group of problems. Out: rows of SIGNATURES.

Each row is a function of its problem alone, so that it can be computed once, in any process. `pending` are wrong
answers on which the rules of grading cannot decide; `settle` asks the grader.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmprm.curation import pictures, questions, texts, verifiable
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, of_row, stream_table
from mmprm.grading import Grader, Verdict
from mmprm.runtime.errors import UserError

VERSION = "1"  # to be raised with every change of the content of signatures
_BATCH = 16  # problems whose images are in memory, in each process

_HASHES = pa.list_(pa.uint64())
SIGNATURES = pa.schema(
    [
        ("problem_id", pa.string()),
        ("source", pa.string()),
        ("family", pa.string()),
        ("group", pa.string()),
        ("kind", pa.string()),  # what grading takes the answer for; `several`: one part for each blank
        ("n_parts", pa.int32()),  # of the answer
        ("named", pa.int32()),  # pictures for which the text has placeholders
        ("fault", pa.string()),  # why the answer cannot be verified
        ("pending", pa.list_(pa.string())),
        *((name, pa.string()) for name in ("proof", "drawing", "open_question", "several_questions")),
        ("gold", pa.uint64()),
        ("text", pa.uint64()),
        ("numbers", pa.list_(pa.string())),
        ("words", _HASHES),
        ("grams", _HASHES),
        ("minhash", _HASHES),
        # One entry for each picture:
        ("side", pa.list_(pa.int32())),  # the shorter side, in pixels
        ("aspect", pa.list_(pa.float32())),  # width / height
        ("detail", pa.list_(pa.float32())),
        ("pixels", pa.list_(pa.binary(16))),
        ("hash", pa.list_(pa.binary(pictures.HASH_BYTES))),
        ("copy", pa.list_(pa.binary())),
    ]
)


def sign_group(path: Path, group: int, max_words: int) -> pa.Table:
    """Compute the SIGNATURES of the row group's problems, in their order; can run in any process."""
    rows = [sign(problem, max_words) for problem in stream_table(path, _BATCH, group)]
    return tables.as_table(rows, SIGNATURES)


def sign(problem: Problem, max_words: int) -> dict[str, Any]:
    """Compute a row of SIGNATURES; max_words: see `verifiable.check`."""
    checked = verifiable.check(problem, max_words)
    accepted, pending = verifiable.pending(problem, checked.wrong)
    fault = checked.fault if accepted is None else _accepted(accepted)
    text = texts.text_signature(problem.question)
    shown = [_picture(problem, image) for image in problem.images]
    return {
        "problem_id": problem.problem_id,
        "source": problem.source,
        "family": problem.family,
        "group": problem.group,
        "kind": checked.kind,
        "n_parts": checked.n_parts,
        "named": texts.pictures_named(problem.question),
        "fault": fault,
        "pending": pending,
        **asdict(questions.find_faults(problem.question, checked.n_parts)),
        "gold": texts.hashed(checked.gold),
        "text": text.key,
        "numbers": list(text.numbers),
        "words": text.words,
        "grams": text.grams,
        "minhash": text.minhash,
        "side": [min(picture.width, picture.height) for picture in shown],
        "aspect": [picture.width / picture.height for picture in shown],
        "detail": [picture.detail for picture in shown],
        "pixels": [picture.pixels for picture in shown],
        "hash": [picture.hash for picture in shown],
        "copy": [picture.copy for picture in shown],
    }


def _picture(problem: Problem, image: bytes) -> pictures.PictureSignature:
    try:
        return pictures.picture_signature(image)
    except UserError as error:
        raise UserError(
            f"problem {problem.problem_id}: {error}; run intake again, which refuses such images"
        ) from error


def _accepted(answer: str) -> str:
    return f"the grader takes {answer!r} for right, which is wrong"


def settle(signatures: pa.Table, path: Path, group: int, grader: Grader) -> pa.Table:
    """Grade the `pending` answers and clear them; a problem with one that the grader accepts gets a fault.

    An answer that stays undecided is no fault.
    """
    waiting = [row for row, wrong in enumerate(signatures["pending"].to_pylist()) if wrong]
    if not waiting:
        return signatures
    faults, pending = signatures["fault"].to_pylist(), signatures["pending"].to_pylist()
    columns = [name for name in schemas.PROBLEMS.names if name != "images"]
    (table,) = tables.groups(path, schemas.PROBLEMS, columns, only=group)
    problems = [of_row(values | {"images": []}) for values in table.take(waiting).to_pylist()]
    asked = [(row, answer, problem) for row, problem in zip(waiting, problems, strict=True) for answer in pending[row]]
    graded = grader.grade_many([(answer, problem) for _, answer, problem in asked])
    for (row, answer, _), grade in zip(asked, graded, strict=True):
        if grade.verdict is Verdict.CORRECT and faults[row] is None:
            faults[row] = _accepted(answer)
    for column, content in (("fault", faults), ("pending", [[]] * len(faults))):
        field = SIGNATURES.field(column)
        signatures = signatures.set_column(SIGNATURES.get_field_index(column), field, pa.array(content, field.type))
    return signatures
