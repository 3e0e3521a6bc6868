"""The rows of parquet, JSON and JSON Lines files. In: files. Out: their columns, and dictionaries one by one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmprm.errors import UserError

Row = dict[str, Any]
_BATCH = 64  # rows of a parquet file that are in memory at once


def read(files: Sequence[Path], needed: Mapping[str, str], hint: str) -> Iterator[Any]:
    """The rows of all files, in order: dictionaries (NaN as None), or a text that says why a row cannot be read.

    UserError where a file is missing, torn, empty or without one of the columns `needed` (what we call it -> what it is
    called there); `hint` ends that message.
    """
    # The first file is opened here, so that its faults are told before any row is.
    return chain(_checked(files[0], needed, hint), *(_late(file, needed, hint) for file in files[1:]))


def _late(file: Path, needed: Mapping[str, str], hint: str) -> Iterator[Any]:
    yield from _checked(file, needed, hint)


def _checked(file: Path, needed: Mapping[str, str], hint: str) -> Iterator[Any]:
    columns, found = rows(file)
    if not columns:
        raise UserError(f"{file}: there are no rows in it")
    for ours, theirs in needed.items():
        if theirs not in columns:
            wanted = f"{theirs!r}" if ours == theirs else f"{theirs!r} for {ours!r}"
            raise UserError(f"{file}: there is no column {wanted}; the columns are {columns}: {hint}")
    return map(_clean, found)


def _clean(row: Any) -> Any:
    if not isinstance(row, dict):
        return row
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}


def rows(path: Path) -> tuple[list[str], Iterable[Any]]:
    """The columns of a file and its rows (dictionaries; anything else is a row that cannot be read).

    Parquet is streamed. Raises UserError where the file is missing or as a whole not what its name says.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; set `path` of the source to a parquet, JSON or JSONL file")
    if path.suffix in (".parquet", ".pq"):
        try:
            return pq.ParquetFile(path).schema_arrow.names, _parquet_rows(path)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path}: not a readable parquet file ({error})") from error
    found = _json_rows(path)
    columns = dict.fromkeys(name for row in found if isinstance(row, dict) for name in row)
    return list(columns), found


def _parquet_rows(path: Path) -> Iterator[Row]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: damaged within its rows ({error}); fetch it again") from error


def _json_rows(path: Path) -> list[Any]:
    """A JSON array, or one value a line; a line that is not JSON becomes a string that says why."""
    data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    if path.suffix == ".json" and data.lstrip()[:1] == b"[":
        try:
            return list(json.loads(data))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: not a JSON array ({error})") from error
    found: list[Any] = []
    for line in data.splitlines():
        if line.strip():
            try:
                found.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                found.append(f"the line is not JSON: {error}")
    if not any(isinstance(row, dict) for row in found):
        raise UserError(f"{path}: neither a JSON array of objects nor one JSON object a line")
    return found
