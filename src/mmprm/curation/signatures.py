"""What curation knows of a problem without its images at hand. In: a row group of problems. Out: rows of SIGNATURES.

Each row is a function of its problem alone, so that it is made once, in any process. `pending` are answers that the
grader must not take for right and that the rules of grading cannot tell; `settle` asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmprm.curation import pictures, questions, texts, verifiable
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, of_row
from mmprm.grading import Grader, Verdict
from mmprm.runtime.errors import UserError

VERSION = "1"  # raise it with every change of what a signature holds
_BATCH = 16  # problems whose images are in memory at once, in each process

_HASHES = pa.list_(pa.uint64())
SIGNATURES = pa.schema(
    [
        ("problem_id", pa.string()),
        ("source", pa.string()),
        ("family", pa.string()),
        ("group", pa.string()),
        ("kind", pa.string()),  # as grading reads the answer; `several`: a part a blank
        ("n_parts", pa.int32()),  # of the answer
        ("named", pa.int32()),  # pictures for which the question's text holds a place
        ("fault", pa.string()),  # why the answer cannot be verified
        ("pending", pa.list_(pa.string())),
        *((name, pa.string()) for name in ("proof", "drawing", "open_question", "several_questions")),
        ("gold", pa.uint64()),
        ("text", pa.uint64()),
        ("numbers", pa.list_(pa.string())),
        ("words", _HASHES),
        ("grams", _HASHES),
        ("minhash", _HASHES),
        # An entry a picture:
        ("side", pa.list_(pa.int32())),  # the shorter one, in pixels
        ("aspect", pa.list_(pa.float32())),  # width / height
        ("detail", pa.list_(pa.float32())),
        ("pixels", pa.list_(pa.binary(16))),
        ("hash", pa.list_(pa.binary(pictures.HASH_BYTES))),
        ("copy", pa.list_(pa.binary())),
    ]
)


def n_groups(path: Path) -> int:
    """The row groups of a problem table; UserError where it is none."""
    return opened(path).num_row_groups


def opened(path: Path) -> pq.ParquetFile:
    """The file; UserError where it is not a problem table."""
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such table; run the target that makes it, e.g. `snakemake {path}`") from error
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable parquet file ({error}); delete it and run again") from error
    missing = [name for name in schemas.PROBLEMS.names if name not in file.schema_arrow.names]
    if missing:
        raise UserError(f"{path}: columns {missing} are missing; it was made by another version: delete it, run again")
    return file


def problems_of(file: pq.ParquetFile, group: int) -> Iterator[Problem]:
    """The problems of a row group, a few at a time in memory."""
    for batch in file.iter_batches(batch_size=_BATCH, row_groups=[group], columns=schemas.PROBLEMS.names):
        yield from map(of_row, batch.to_pylist())


def sign_group(path: Path, group: int, max_words: int) -> pa.Table:
    """SIGNATURES of the row group's problems, in its order. Runs in a process of its own."""
    rows = [sign(problem, max_words) for problem in problems_of(opened(path), group)]
    return tables.as_table(rows, SIGNATURES)


def sign(problem: Problem, max_words: int) -> dict[str, Any]:
    """A row of SIGNATURES; max_words: see `verifiable.check`."""
    checked = verifiable.check(problem, max_words)
    taken, pending = verifiable.pending(problem, checked.wrong)
    fault = checked.fault if taken is None else _taken(taken)
    text = texts.read(problem.question)
    seen = [_picture(problem, image) for image in problem.images]
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
        **asdict(questions.read(problem.question, checked.n_parts)),
        "gold": texts.hashed(checked.gold),
        "text": text.key,
        "numbers": list(text.numbers),
        "words": text.words,
        "grams": text.grams,
        "minhash": text.minhash,
        "side": [min(one.width, one.height) for one in seen],
        "aspect": [one.width / one.height for one in seen],
        "detail": [one.detail for one in seen],
        "pixels": [one.pixels for one in seen],
        "hash": [one.hash for one in seen],
        "copy": [one.copy for one in seen],
    }


def _picture(problem: Problem, image: bytes) -> pictures.Picture:
    try:
        return pictures.look(image)
    except UserError as error:
        raise UserError(
            f"problem {problem.problem_id}: {error}; run intake again, which refuses such images"
        ) from error


def _taken(answer: str) -> str:
    return f"the grader takes {answer!r} for right, which is wrong"


def settle(signatures: pa.Table, path: Path, group: int, grader: Grader) -> pa.Table:
    """The same rows without `pending`: who has a wrong answer that the grader takes for right gets a fault.

    An answer that stays undecided is not known to be taken for right.
    """
    waiting = [at for at, wrong in enumerate(signatures["pending"].to_pylist()) if wrong]
    if not waiting:
        return signatures
    faults, pending = signatures["fault"].to_pylist(), signatures["pending"].to_pylist()
    columns = [name for name in schemas.PROBLEMS.names if name != "images"]
    rows = opened(path).read_row_group(group, columns=columns).take(waiting).to_pylist()
    asked = [
        (at, answer, of_row(row | {"images": []}))
        for at, row in zip(waiting, rows, strict=True)
        for answer in pending[at]
    ]
    verdicts = grader.grade_many([(answer, problem) for _, answer, problem in asked])
    for (at, answer, _), found in zip(asked, verdicts, strict=True):
        if found.verdict is Verdict.CORRECT and faults[at] is None:
            faults[at] = _taken(answer)
    return _with(signatures, "fault", faults, [[]] * len(faults))


def _with(signatures: pa.Table, name: str, values: Sequence[Any], pending: Sequence[Any]) -> pa.Table:
    for column, content in ((name, values), ("pending", pending)):
        field = SIGNATURES.field(column)
        signatures = signatures.set_column(SIGNATURES.get_field_index(column), field, pa.array(content, field.type))
    return signatures
