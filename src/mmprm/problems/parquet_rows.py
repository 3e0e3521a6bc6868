"""Rows of parquet files, a batch of them in memory. In: a file and the columns to read. Out: Rows, or Unreadable.

float32 and float16 are read as the shortest decimal number that they stand for: 0.1 in 32 bits, widened to Python's 64,
would be the gold answer 0.10000000149011612, and 0.1 wrong.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmprm.problems.json_rows import row_of
from mmprm.problems.refusals import unreadable
from mmprm.runtime.errors import UserError

_BATCH = 64  # rows that are in memory
_BUFFER = 2**20  # bytes of a column that are read at a time; without it arrow reads the column of a row group
_LARGE = 2**26  # bytes from which the rows of a batch are made one by one
_DECODED = 2**28  # bytes that a batch may have where few bytes of the file stand for many


def parquet_rows(path: Path, name: str, start: int, columns: Sequence[str]) -> Iterator[Any]:
    """Yield the rows from `start` on, counted from 0; name: of the file, as refusals have it."""
    number = start
    try:
        with pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
            narrow = _narrow(file.schema_arrow, columns)
            for group in range(file.num_row_groups):  # one at a time: arrow keeps what it has read until the last
                if start >= file.metadata.row_group(group).num_rows:
                    start -= file.metadata.row_group(group).num_rows
                    continue
                size = _batch_size(file.metadata.row_group(group))
                for batch in file.iter_batches(batch_size=size, row_groups=[group], columns=columns):
                    for found in _rows_of(batch.slice(start)):
                        yield _placed(found, f"{name}, row {number} (from 0)", narrow)
                        number += 1
                    start = max(0, start - len(batch))
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: damaged within its rows ({error}); fetch it again") from error


def _placed(found: Any, place: str, narrow: dict[str, Callable[[Any], Any]]) -> Any:
    if isinstance(found, Exception):
        reason = "bad_text" if isinstance(found, UnicodeDecodeError) else "bad_row"
        return unreadable(f"a value cannot be decoded: {found}", place, reason)
    row = row_of(found, place)
    for column, shortest in narrow.items():
        row[column] = shortest(row[column])
    return row


def _batch_size(group: Any) -> int:
    """Return how many rows may be decoded at once, at most _BATCH.

    A dictionary lets every row repeat its longest value: a file of 2 kB may hold 64 rows of 8 MB.
    """
    chunks = [group.column(index) for index in range(group.num_columns)]
    longest = sum(int(chunk.total_uncompressed_size) for chunk in chunks if chunk.has_dictionary_page)
    return max(1, min(_BATCH, _DECODED // max(1, longest)))


def _rows_of(batch: pa.RecordBatch) -> Iterator[Any]:
    """Yield the rows of a batch, one by one where they are large or one has a value that Python cannot hold."""
    if batch.nbytes <= _LARGE:
        try:
            yield from batch.to_pylist()
            return
        except (ArithmeticError, ValueError):  # a date in the year 300,000, a text that is not UTF-8
            pass
    for number in range(len(batch)):
        try:
            yield from batch.slice(number, 1).to_pylist()
        except (ArithmeticError, ValueError) as error:
            yield error


def _narrow(schema: pa.Schema, columns: Sequence[str]) -> dict[str, Callable[[Any], Any]]:
    """Return for each column with floats of fewer than 64 bits the function that reads them as they were written."""
    found = {}
    for name in columns:
        kinds = set(_leaves(schema.field(name).type)) if schema.names.count(name) == 1 else set()
        if pa.float32() in kinds or pa.float16() in kinds:
            found[name] = _shortest(np.float32 if pa.float32() in kinds else np.float16)
    return found


def _leaves(kind: pa.DataType) -> Iterator[pa.DataType]:
    if kind.num_fields:
        for index in range(kind.num_fields):
            yield from _leaves(kind.field(index).type)
    else:
        yield kind


def _shortest(width: Any) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if isinstance(value, float):
            return float(str(width(value))) if float(width(value)) == value else value
        if isinstance(value, list):
            return [read(item) for item in value]
        return {name: read(item) for name, item in value.items()} if isinstance(value, dict) else value

    return read
