"""Checked rows of a source, part by part. In: rows. Out: part files, which a killed intake goes on from.

A part is two files, named after its first row: `N.rows` holds the problems, one after another, and `N.parquet`
(schemas.INTAKE_PART, written last) says where each stands, and which rows were refused. Problems are read back one at a
time, in any order, so that no more of them is ever in memory.
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
from mmprm.data.problem import Problem
from mmprm.problems.adapters import Adapter, adapter_of
from mmprm.problems.images import RowRefusedError
from mmprm.problems.values import Place, object_of, problem_of

_OPEN = 64  # files of problems that are open at once


@dataclass(frozen=True)
class IntakePart:
    """A part that is whole: its first row, how many rows it has, and how many were refused, by reason."""

    first: int
    rows: int
    refused: Mapping[str, int]


@dataclass(frozen=True)
class Checker:
    """Makes parts: a call can run in any process."""

    source: DataFiles
    place: Place
    folder: Path

    def __call__(self, first: int, found: Sequence[Any]) -> IntakePart:
        """Check the rows `first`, `first` + 1, …, and write their part."""
        adapter = adapter_of(self.source)
        entries: list[dict[str, Any]] = []
        with tables.replacing(rows_file(self.folder, first)) as temporary, temporary.open("wb") as file:
            for number, row in enumerate(found, start=first):
                entry: dict[str, Any] = dict.fromkeys(schemas.INTAKE_PART.names) | {"row": number}
                try:
                    problem = _problem_at(adapter, row, number, self.place)
                except RowRefusedError as error:
                    entry |= {"reason": error.reason, "detail": error.detail}
                    entry["problem_id"] = _id_of(row, adapter.id, self.place.source)
                else:
                    entry |= {"offset": file.tell(), "length": file.write(_packed(problem))}
                    entry |= {"problem_id": problem.problem_id, "own_group": problem.group}
                    entry["pictures"] = [hashlib.sha256(image).digest()[:16] for image in problem.images]
                    entry["image_bytes"] = sum(map(len, problem.images))
                entries.append(entry)
        tables.write(index_file(self.folder, first), entries, schemas.INTAKE_PART)
        return IntakePart(first, len(entries), Counter(entry["reason"] for entry in entries if entry["reason"]))


def _problem_at(adapter: Adapter, row: Any, number: int, place: Place) -> Problem:
    fields = adapter.fields(object_of(row))
    return problem_of(fields if adapter.id else replace(fields, id=number), place)


def _id_of(row: Any, column: str, name: str) -> str | None:
    """The id of a row that was refused, where it has one that can be written down."""
    found = row.get(column) if isinstance(row, dict) else None
    if found is None:
        return None
    return f"{name}/{found}".encode(errors="replace").decode()


def index_file(folder: Path, first: int) -> Path:
    return folder / f"{first:012d}.parquet"


def rows_file(folder: Path, first: int) -> Path:
    return folder / f"{first:012d}.rows"


def whole_parts(folder: Path) -> list[IntakePart]:
    """The parts that earlier runs left, by their first row; those that are damaged are passed over, and made again."""
    found = []
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
            found.append(IntakePart(first, len(table), refused))
    return found


def _packed(problem: Problem) -> bytes:
    """A problem as bytes: the length of what follows but images, that as JSON, the images."""
    values = {field: getattr(problem, field) for field in schemas.PROBLEMS.names}
    head = json.dumps(values | {"images": [len(image) for image in problem.images]}).encode()
    return b"".join((len(head).to_bytes(8, "big"), head, *problem.images))


def _unpacked(data: bytes) -> dict[str, Any]:
    """The row of schemas.PROBLEMS."""
    end = 8 + int.from_bytes(data[:8], "big")
    row: dict[str, Any] = json.loads(data[8:end])
    images = []
    for length in row["images"]:
        images.append(data[end : end + length])
        end += length
    return row | {"images": images}


class Problems:
    """A context manager: the problems of all parts, read one by one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: OrderedDict[int, BinaryIO] = OrderedDict()

    def __enter__(self) -> Problems:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def row(self, first: int, offset: int, length: int) -> dict[str, Any]:
        """A problem of the part whose first row is `first`, as a row of schemas.PROBLEMS."""
        if first not in self._files:
            if len(self._files) >= _OPEN:
                self._files.popitem(last=False)[1].close()
            self._files[first] = rows_file(self._folder, first).open("rb")
        self._files.move_to_end(first)
        self._files[first].seek(offset)
        return _unpacked(self._files[first].read(length))
