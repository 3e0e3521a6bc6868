"""The signatures of whole tables, made in processes and kept. In: problem tables. Out: a `Pool` of all their problems.

A file of the work folder holds the signatures of a row group; it is whole or absent, so that a kill costs no more than
the row groups in hand. They lie in a folder named by what they depend on: the table's bytes, and the versions of
signatures and grading. Row groups are read by the processes themselves; their results are taken in order.
"""

from __future__ import annotations

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
from mmprm.curation.signatures import SIGNATURES, VERSION, n_groups, settle, sign_group
from mmprm.data import tables
from mmprm.grading import Grader
from mmprm.runtime.parent_death import end_with_parent
from mmprm.runtime.progress import Progress

_AHEAD = 2  # row groups that wait for their turn, for each process
_FEW = 8  # row groups that are done before processes would have started


@dataclass(frozen=True)
class SignaturePart:
    """A row group of a table, and where its signatures are kept."""

    path: Path
    group: int
    kept: Path


@dataclass(frozen=True)
class Settings:
    """workers: processes; none of it but max_words changes a signature."""

    work: Path
    max_words: int
    workers: int
    grading_workers: int
    timeout: float


def signed(paths: Sequence[Path], settings: Settings) -> list[list[Path]]:
    """The files of signatures of each table, in the order of its row groups; makes those that are not there.

    What the work folder holds of other tables, or of these when they were others, is removed.
    """
    parts = [_parts(path, settings) for path in paths]
    current = {part.kept.parent for own in parts for part in own}
    for folder in settings.work.glob("*"):
        if folder.is_dir() and folder not in current:
            shutil.rmtree(folder)
    missing = [part for own in parts for part in own if not _is_whole(part.kept)]
    if missing:
        _make(missing, settings)
    return [[part.kept for part in own] for own in parts]


def _parts(path: Path, settings: Settings) -> list[SignaturePart]:
    groups = n_groups(path)
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    known = "\x1f".join((content, VERSION, grading.VERSION, str(settings.max_words)))
    folder = settings.work / hashlib.sha256(known.encode()).hexdigest()[:24]
    return [SignaturePart(path, group, folder / f"{group:06d}.parquet") for group in range(groups)]


def _is_whole(path: Path) -> bool:
    try:
        return path.is_file() and pq.read_schema(path).equals(SIGNATURES)
    except (pa.ArrowException, OSError):
        return False


def _make(parts: Sequence[SignaturePart], settings: Settings) -> None:
    with (
        Grader(settings.grading_workers, settings.timeout) as grader,
        Progress("signatures", len(parts), "row groups") as bar,
    ):
        for done, (part, made) in enumerate(_in_order(parts, settings), 1):
            whole = settle(made, part.path, part.group, grader)
            with tables.replacing(part.kept) as temporary:
                pq.write_table(whole, temporary, compression="zstd")
            bar.update(done)


def _in_order(parts: Sequence[SignaturePart], settings: Settings) -> Iterator[tuple[SignaturePart, pa.Table]]:
    """Each part with its signatures, from processes that are a few parts ahead."""
    if settings.workers <= 1 or len(parts) <= _FEW:
        for part in parts:
            yield part, sign_group(part.path, part.group, settings.max_words)
        return
    # Spawned: a forked process would hold the locks of pyarrow's threads.
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
