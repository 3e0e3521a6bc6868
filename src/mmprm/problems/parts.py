"""The parts of checked rows, from which a killed intake resumes. In: rows of a source. Out: part files, read back.

A part is two files, named after its first row: `N.rows` has the problems one after another, and `N.parquet`
(schemas.INTAKE_PART, written last) has their positions in it and the refused rows. Rows are read in one process and
checked in `workers` processes. Where a part ends depends only on the rows, so the parts are the same for any number of
processes and after any number of kills.
"""

import hashlib
import io
import json
import multiprocessing
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, Self

import pyarrow as pa
import pyarrow.parquet as pq

from mmprm.config.data_files import DataFiles
from mmprm.data import schemas, tables
from mmprm.data.problem import row_of
from mmprm.problems.adapters import adapter_of
from mmprm.problems.fields import SourceContext, problem_of
from mmprm.problems.refusals import RowRefusedError, object_of, one_row, with_place
from mmprm.runtime.errors import UserError
from mmprm.runtime.parent_death import end_with_parent

# A part ends after this many rows, or bytes of images and long texts; images named by paths are read one at a time.
ROWS, BYTES = 512, 2**25
_LONG = 2**16  # characters from which a text counts: where parts of usual rows end must not change
_END = object()
_OPEN = 64  # files of problems that may be open

NumberedRows = tuple[int, list[Any]]  # the number of the first row, and the rows


@dataclass(frozen=True)
class IntakePart:
    """A finished part: its first row, the number of its rows, and how many were refused, by reason."""

    first: int
    rows: int
    refused: Mapping[str, int]


@dataclass(frozen=True)
class PartMaker:
    """Checks rows and writes their parts; a call can run in any process."""

    source: DataFiles
    context: SourceContext
    folder: Path

    def __call__(self, first: int, rows: Sequence[Any]) -> IntakePart:
        """Check the rows `first`, `first` + 1, …, and write their part."""
        adapter = adapter_of(self.source)
        entries: list[dict[str, Any]] = []
        with tables.replacing(rows_file(self.folder, first)) as temporary, temporary.open("wb") as file:
            for number, row in enumerate(rows, start=first):
                entry: dict[str, Any] = dict.fromkeys(schemas.INTAKE_PART.names) | {"row": number}
                try:
                    with one_row():
                        fields = adapter.fields(object_of(row))
                        fields = fields if adapter.id else replace(fields, id=number)
                        problem = problem_of(fields, self.context)
                except RowRefusedError as error:
                    entry |= {"reason": error.reason, "detail": with_place(row, error.detail)}
                    entry["problem_id"] = _shown_id(self.context.source, row, adapter.id)
                else:
                    # A problem is the length of the JSON of its fields, this JSON with the images' lengths, the images.
                    head = json.dumps(row_of(problem) | {"images": [len(image) for image in problem.images]}).encode()
                    packed = b"".join((len(head).to_bytes(8, "big"), head, *problem.images))
                    entry |= {"offset": file.tell(), "length": file.write(packed)}
                    entry |= {"problem_id": problem.problem_id, "own_group": problem.group}
                    entry["detail"] = with_place(row, "")  # for the refusal of a row whose id was taken before
                    entry["pictures"] = [hashlib.sha256(image).digest()[:16] for image in problem.images]
                    entry["image_bytes"] = sum(map(len, problem.images))
                entries.append(entry)
        tables.write(index_file(self.folder, first), entries, schemas.INTAKE_PART)
        return IntakePart(first, len(entries), Counter(entry["reason"] for entry in entries if entry["reason"]))


def _shown_id(source: str, row: Any, column: str) -> str | None:
    """Return the id of a refused row where it has one that can be shown."""
    value = row.get(column) if isinstance(row, dict) else None
    try:
        shown = None if value is None else str(value)[:200]
    except (RecursionError, ValueError):  # brackets in brackets, numbers of thousands of digits
        shown = None
    return None if shown is None else f"{source}/{shown}".encode(errors="replace").decode()


def index_file(folder: Path, first: int) -> Path:
    """Return the path of a part's table."""
    return folder / f"{first:012d}.parquet"


def rows_file(folder: Path, first: int) -> Path:
    """Return the path of a part's problems."""
    return folder / f"{first:012d}.rows"


def finished_parts(folder: Path) -> list[IntakePart]:
    """Read the parts of earlier runs, by their first row; damaged ones are left out, and so made again."""
    parts = []
    for path in sorted(folder.glob("*.parquet")):
        first = int(path.stem)
        try:
            table = pq.read_table(path, columns=["reason", "length"])
            size = rows_file(folder, first).stat().st_size
        except (OSError, pa.ArrowException):
            continue
        if size == sum(table["length"].drop_null().to_pylist()):
            refused = Counter(reason for reason in table["reason"].to_pylist() if reason)
            parts.append(IntakePart(first, len(table), refused))
    return parts


class PartReader:
    """Context manager that reads the problems of all parts, one by one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: OrderedDict[int, BinaryIO] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def row(self, first: int, offset: int, length: int) -> dict[str, Any]:
        """Read a problem of the part with the first row `first`, as a row of schemas.PROBLEMS."""
        if first not in self._files:
            if len(self._files) >= _OPEN:
                self._files.popitem(last=False)[1].close()
            self._files[first] = rows_file(self._folder, first).open("rb")
        self._files.move_to_end(first)
        self._files[first].seek(offset)
        data = io.BytesIO(self._files[first].read(length))
        row: dict[str, Any] = json.loads(data.read(int.from_bytes(data.read(8), "big")))
        return row | {"images": [data.read(size) for size in row["images"]]}


def cut_parts(rows: Iterator[Any], start: int, done: Mapping[int, int]) -> Iterator[NumberedRows]:
    """Cut rows, the first of which has the number `start`, into parts, without those `done` (first row -> rows)."""
    number = start
    while True:
        if passed := done.get(number):
            number += sum(1 for _ in islice(rows, passed))
            continue
        part: list[Any] = []
        n_bytes = 0
        while len(part) < ROWS and n_bytes < BYTES and (row := next(rows, _END)) is not _END:  # a row may be null
            part.append(row)
            n_bytes += sum(map(_bytes_in, row.values())) if isinstance(row, dict) else 0
        if not part:
            return
        yield number, part
        number += len(part)


def _bytes_in(value: Any) -> int:
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, str) and len(value) > _LONG:
        return len(value)
    if isinstance(value, dict):
        return _bytes_in(value.get("bytes"))
    return sum(map(_bytes_in, value)) if isinstance(value, list) else 0


def check_parts(
    parts: Iterator[NumberedRows], make_part: Callable[[int, Sequence[Any]], IntakePart], workers: int
) -> Iterator[IntakePart]:
    """Check the rows of the parts; yields the parts in order. UserError where a process dies."""
    ahead = list(islice(parts, 2))
    if workers == 1 or len(ahead) < 2:  # starting processes would take longer
        yield from (make_part(*part) for part in chain(ahead, parts))
        return
    # Spawned, not forked: the parent may have threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent) as pool:
        running: deque[Future[IntakePart]] = deque()
        try:
            for part in chain(ahead, parts):
                running.append(pool.submit(make_part, *part))
                while len(running) > workers + 1:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        except BrokenProcessPool as error:
            raise UserError(
                "intake: a process that checks rows died, perhaps for lack of memory; run it again with fewer threads "
                "or more memory (finished parts are kept)"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


class IntakeProgress:
    """The finished parts, and whether the rows before the first gap can still meet the bound on refused rows.

    Parts count in the order of the rows, so that a run stops at the same row whatever was finished before.
    """

    def __init__(self, parts: Sequence[IntakePart], share: float, after: int | None, at_most: int | None) -> None:
        """Start with the finished `parts`.

        share: of the rows that may be refused; after: the number of rows from which the rows so far must meet it,
        None: never; at_most: the most rows that the source can have, None where that is unknown.
        """
        self._parts = {part.first: part for part in parts}
        self._share, self._after, self.at_most = share, after, at_most
        self.rows = 0  # before the first gap
        self.refused = 0  # of these
        self._advance()

    @property
    def done(self) -> dict[int, int]:
        """First row -> number of rows, of every finished part."""
        return {first: part.rows for first, part in self._parts.items()}

    @property
    def parts(self) -> list[IntakePart]:
        """The parts before the first gap, in order."""
        return [self._parts[first] for first in sorted(self._parts) if first < self.rows]

    def add(self, part: IntakePart) -> None:
        """Add a finished part."""
        self._parts[part.first] = part
        self._advance()

    def _advance(self) -> None:
        while self.hopeless is None and (part := self._parts.get(self.rows)):
            self.rows += part.rows
            self.refused += sum(part.refused.values())

    @property
    def hopeless(self) -> str | None:
        """Why reading on is useless; None where it is not, or all rows are read."""
        if self.at_most is not None and self.rows < self.at_most and self.refused > self._share * self.at_most:
            return f"there are at most {self.at_most:,} rows, so the bound cannot be kept"
        if self._after is not None and self.rows >= self._after and self.refused > self._share * self.rows:
            return f"after intake.judge_after ({self._after:,}) rows the share is held against the bound"
        return None
