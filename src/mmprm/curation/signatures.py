"""Signatures: what curation needs of a problem. In: problem tables. Out: files of SIGNATURES in the work folder.

Each row is a function of its problem alone, and is computed once, in any process. A file has the signatures of one row
group and is complete or absent, so that a kill costs only the row groups in work. The folder of a table's files is
named by a hash of what they depend on: the table's bytes, and the versions of signatures and grading.
"""

import hashlib
import multiprocessing
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmprm import grading
from mmprm.curation import questions, texts, verifiable
from mmprm.curation.pictures import HASH_BYTES, PictureSignature, picture_signature
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, of_row, stream_table
from mmprm.grading import Grader, Verdict
from mmprm.runtime.errors import UserError
from mmprm.runtime.parent_death import end_with_parent
from mmprm.runtime.progress import Progress

VERSION = "3"  # to be raised with every change of the content of signatures
_AHEAD = 2  # row groups that are submitted at a time, for each process
_FEW = 8  # row groups that are finished before processes would have started
_BATCH = 16  # problems whose images are in memory, in each process

SIGNATURES = pa.schema(
    [
        ("problem_id", pa.string()),
        ("source", pa.string()),
        ("family", pa.string()),
        ("group", pa.string()),
        ("kind", pa.string()),  # what grading takes the answer for; `several`: one part for each blank
        ("n_parts", pa.int32()),  # of the answer
        ("named", pa.int32()),  # pictures for which the text has placeholders
        ("figure", pa.string()),  # the words by which the text sends to a figure
        ("fault", pa.string()),  # why the answer cannot be verified
        ("pending", pa.list_(pa.string())),  # wrong answers on which the rules of grading cannot decide
        *((name, pa.string()) for name in ("proof", "drawing", "open_question", "several_questions")),
        ("gold", pa.uint64()),
        ("text", pa.uint64()),
        ("numbers", pa.list_(pa.string())),
        *((name, pa.list_(pa.uint64())) for name in ("words", "grams", "minhash")),
        # One entry for each picture:
        ("side", pa.list_(pa.int32())),  # the shorter side, in pixels
        ("aspect", pa.list_(pa.float32())),  # width / height
        ("detail", pa.list_(pa.float32())),
        ("pixels", pa.list_(pa.binary(16))),
        ("hash", pa.list_(pa.binary(HASH_BYTES))),
        ("copy", pa.list_(pa.binary())),
    ]
)


def sign_group(path: Path, group: int, max_words: int) -> pa.Table:
    """Compute the SIGNATURES of the row group's problems, in their order; can run in any process."""
    rows = [_sign(problem, max_words) for problem in stream_table(path, _BATCH, group)]
    return tables.as_table(rows, SIGNATURES)


def _sign(problem: Problem, max_words: int) -> dict[str, Any]:
    """Compute a row of SIGNATURES; max_words: see `verifiable.check`."""
    checked = verifiable.check(problem, max_words)
    accepted, pending = verifiable.pending(problem, checked.wrong)
    fault = checked.fault if accepted is None else _accepted(accepted)
    try:
        shown = [picture_signature(image) for image in problem.images]
    except UserError as error:
        advice = "run intake again, which refuses such images"
        raise UserError(f"problem {problem.problem_id}: {error}; {advice}") from error
    return {
        **{name: getattr(problem, name) for name in ("problem_id", "source", "family", "group")},
        "kind": checked.kind,
        "n_parts": checked.n_parts,
        "named": texts.pictures_named(problem.question),
        "figure": texts.figure_named(problem.question),
        "fault": fault,
        "pending": pending,
        **vars(questions.find_faults(problem.question, checked.n_parts, bool(problem.choices))),
        "gold": texts.hashed(checked.gold),
        **vars(texts.text_signature(problem.question)),
        **{field.name: [getattr(picture, field.name) for picture in shown] for field in fields(PictureSignature)},
    }


def _accepted(answer: str) -> str:
    return f"the grader takes {answer!r} for right, which is wrong"


def _settle(signatures: pa.Table, path: Path, group: int, grader: Grader) -> pa.Table:
    """Grade the `pending` answers and clear them; one that the grader accepts is a fault, an undecided one is none."""
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


@dataclass(frozen=True)
class SignaturePart:
    """A row group of a table, and the file of its signatures."""

    path: Path
    group: int
    file: Path


@dataclass(frozen=True)
class SignatureSettings:
    """workers: processes. Signatures depend only on max_words."""

    work: Path
    max_words: int
    workers: int
    grading_workers: int
    timeout: float


def sign_tables(paths: Sequence[Path], settings: SignatureSettings) -> list[list[Path]]:
    """Return each table's signature files, one for each row group; computes missing ones, removes outdated ones."""
    parts = [_parts(path, settings) for path in paths]
    current = {part.file.parent for table in parts for part in table}
    for folder in settings.work.glob("*"):
        if folder.is_dir() and folder not in current:
            shutil.rmtree(folder)
    missing = [part for table in parts for part in table if not _is_complete(part.file)]
    if missing:
        _make(missing, settings)
    return [[part.file for part in table] for table in parts]


def _parts(path: Path, settings: SignatureSettings) -> list[SignaturePart]:
    groups = tables.group_count(path, schemas.PROBLEMS)
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    inputs = "\x1f".join((content, VERSION, grading.VERSION, str(settings.max_words)))
    folder = settings.work / hashlib.sha256(inputs.encode()).hexdigest()[:24]
    return [SignaturePart(path, group, folder / f"{group:06d}.parquet") for group in range(groups)]


def _is_complete(path: Path) -> bool:
    try:
        return path.is_file() and pq.read_schema(path).equals(SIGNATURES)
    except (pa.ArrowException, OSError):
        return False


def _make(parts: Sequence[SignaturePart], settings: SignatureSettings) -> None:
    with (
        Grader(settings.grading_workers, settings.timeout) as grader,
        Progress("signatures", len(parts), "row groups") as bar,
    ):
        for done, (part, computed) in enumerate(_in_order(parts, settings), 1):
            signatures = _settle(computed, part.path, part.group, grader)
            with tables.replacing(part.file) as temporary:
                pq.write_table(signatures, temporary, compression="zstd")
            bar.update(done)


def _in_order(parts: Sequence[SignaturePart], settings: SignatureSettings) -> Iterator[tuple[SignaturePart, pa.Table]]:
    """Yield each part with its signatures, in order, computed by processes that are a few parts ahead."""
    if settings.workers <= 1 or len(parts) <= _FEW:
        for part in parts:
            yield part, sign_group(part.path, part.group, settings.max_words)
        return
    # Spawned: a forked process would inherit the locks of pyarrow's threads.
    context = multiprocessing.get_context("spawn")
    waiting: deque[tuple[SignaturePart, Future[pa.Table]]] = deque()
    left, workers = iter(parts), min(settings.workers, len(parts))
    with ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent) as pool:
        try:
            while True:
                for part in islice(left, _AHEAD * settings.workers - len(waiting)):
                    waiting.append((part, pool.submit(sign_group, part.path, part.group, settings.max_words)))
                if not waiting:
                    return
                part, future = waiting.popleft()
                yield part, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
