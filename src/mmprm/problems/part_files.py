"""The files of checked rows, from which a killed intake resumes. In: rows of a source. Out: part files.

A part is two files, named after its first row: `N.rows` has the problems one after another, and `N.parquet`
(schemas.INTAKE_PART, written last) has their positions in it and the refused rows. Problems are read back one at a
time, in any order, so that only one is in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from mmprm.config.sources import DataFiles
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, row_of
from mmprm.problems.adapters import adapter_of
from mmprm.problems.fields import SourceContext, object_of, problem_of
from mmprm.problems.rows import RowRefusedError

_OPEN = 64  # files of problems that may be open


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
                    fields = adapter.fields(object_of(row))
                    fields = fields if adapter.id else replace(fields, id=number)
                    problem = problem_of(fields, self.context)
                except RowRefusedError as error:
                    entry |= {"reason": error.reason, "detail": error.detail}
                    entry["problem_id"] = _id_of(row, adapter.id, self.context.source)
                else:
                    entry |= {"offset": file.tell(), "length": file.write(_packed(problem))}
                    entry |= {"problem_id": problem.problem_id, "own_group": problem.group}
                    entry["pictures"] = [hashlib.sha256(image).digest()[:16] for image in problem.images]
                    entry["image_bytes"] = sum(map(len, problem.images))
                entries.append(entry)
        tables.write(index_file(self.folder, first), entries, schemas.INTAKE_PART)
        return IntakePart(first, len(entries), Counter(entry["reason"] for entry in entries if entry["reason"]))


def _id_of(row: Any, column: str, name: str) -> str | None:
    """Return the id of a refused row, None where it has none."""
    value = row.get(column) if isinstance(row, dict) else None
    return None if value is None else f"{name}/{value}".encode(errors="replace").decode()


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
            table = pq.read_table(path, columns=["reason", "offset", "length"])
            size = rows_file(folder, first).stat().st_size
        except (OSError, pa.ArrowException):
            continue
        taken = table.filter(table["reason"].is_null())
        ends = taken["offset"][-1].as_py() + taken["length"][-1].as_py() if len(taken) else 0
        if size == ends:
            refused = Counter(reason for reason in table["reason"].to_pylist() if reason)
            parts.append(IntakePart(first, len(table), refused))
    return parts


def _packed(problem: Problem) -> bytes:
    """Pack a problem: the length of the JSON of its fields, this JSON with the images' lengths, the images."""
    head = json.dumps(row_of(problem) | {"images": [len(image) for image in problem.images]}).encode()
    return b"".join((len(head).to_bytes(8, "big"), head, *problem.images))


def _unpacked(data: bytes) -> dict[str, Any]:
    """Unpack a problem to its row of schemas.PROBLEMS."""
    end = 8 + int.from_bytes(data[:8], "big")
    row: dict[str, Any] = json.loads(data[8:end])
    images = []
    for length in row["images"]:
        images.append(data[end : end + length])
        end += length
    return row | {"images": images}


class PartReader:
    """Context manager that reads the problems of all parts, one by one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: OrderedDict[int, BinaryIO] = OrderedDict()

    def __enter__(self) -> PartReader:
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
        return _unpacked(self._files[first].read(length))
