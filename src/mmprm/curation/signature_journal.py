"""Compute the signatures of complete tables in processes and store them. In: problem tables. Out: signature files.

A file of the work folder has the signatures of one row group and is complete or absent, so that a kill costs only the
row groups in work. The folder of a table's files is named by a hash of what they depend on: the table's bytes, and the
versions of signatures and grading. Processes read their row groups themselves; results are written in order.
"""

import hashlib
import multiprocessing
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmprm import grading
from mmprm.curation.signatures import SIGNATURES, VERSION, settle, sign_group
from mmprm.data import schemas, tables
from mmprm.grading import Grader
from mmprm.runtime.parent_death import end_with_parent
from mmprm.runtime.progress import Progress

_AHEAD = 2  # row groups that are submitted at a time, for each process
_FEW = 8  # row groups that are finished before processes would have started


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
    """Return the signature files of each table, in the order of its row groups; computes those that are missing.

    Signatures of other tables, or of earlier versions of these, are removed from the work folder.
    """
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
            signatures = settle(computed, part.path, part.group, grader)
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
    left = iter(parts)
    workers = min(settings.workers, len(parts))
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
