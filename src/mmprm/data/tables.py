"""Read and write tables, JSON and text files; writes are atomic: a file is complete or absent. Schemas: schemas.py."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmprm.runtime.errors import UserError

_IMAGE_BYTES = 2**27  # of a row group


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that is renamed onto it when the block ends well, and removed when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner can read
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write(path: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema, group: int | None = None) -> None:
    """Write rows (mappings with exactly the schema's columns) as parquet, atomically.

    Rows are taken in row groups of `group`, one in memory at a time. Groups are small where rows hold images, and end
    early at _IMAGE_BYTES of them: arrow cannot build or read one of more than 2 GB.
    """
    group = group or (256 if "images" in schema.names else 8192)
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for chunk in _row_groups(rows, group):
            writer.write_table(as_table(chunk, schema))


def _row_groups(rows: Iterable[Mapping[str, Any]], group: int) -> Iterator[list[Mapping[str, Any]]]:
    chunk: list[Mapping[str, Any]] = []
    n_bytes = 0
    for row in rows:
        chunk.append(row)
        n_bytes += sum(map(len, row.get("images") or ()))
        if len(chunk) == group or n_bytes >= _IMAGE_BYTES:
            yield chunk
            chunk, n_bytes = [], 0
    if chunk:
        yield chunk


@contextmanager
def appending(path: Path, schema: pa.Schema, group: int = 1024) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """`write` of rows that come one by one, for a table beside another one: gives what takes a row.

    The file is there when the block has ended well.
    """
    waiting: list[Mapping[str, Any]] = []
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:

        def add(row: Mapping[str, Any]) -> None:
            waiting.append(row)
            if len(waiting) == group:
                writer.write_table(as_table(waiting, schema))
                waiting.clear()

        yield add
        writer.write_table(as_table(waiting, schema))


def write_parts(path: Path, parts: Iterable[pa.Table], schema: pa.Schema, group: int = 8192) -> None:
    """`write` of rows that are arrow tables already: the same file, one row group in memory at a time."""
    waiting: list[pa.Table] = []
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for part in parts:
            waiting.append(part)
            while sum(map(len, waiting)) >= group:
                whole = pa.concat_tables(waiting).combine_chunks()
                writer.write_table(whole.slice(0, group))
                waiting = [whole.slice(group)]
        if sum(map(len, waiting)):
            writer.write_table(pa.concat_tables(waiting).combine_chunks())


def as_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as an arrow table; ValueError unless each has exactly the schema's columns."""
    names = set(schema.names)
    for row in rows:
        if row.keys() != names:  # arrow would drop the one and write null for the other
            raise ValueError(f"a row has columns {sorted(row)}, the table {sorted(names)}")
    return pa.Table.from_pylist(rows, schema=schema)


def read(path: Path, schema: pa.Schema, problem_ids: Collection[str] | None = None) -> pa.Table:
    """Read a table of the run, or only the rows of some of its problems.

    UserError names the file and the columns when it is not what the schema says.
    """
    # With their type: of no ids arrow cannot tell it, and would refuse to compare.
    wanted = None if problem_ids is None else pc.field("problem_id").isin(pa.array(problem_ids, pa.string()))
    with _explained(path):
        table = pq.read_table(path, filters=wanted)
    return _as_said(path, table, schema, schema.names)


def batches(
    path: Path, schema: pa.Schema, columns: Sequence[str] | None = None, rows: int = 4096
) -> Iterator[pa.Table]:
    """A table of the run in parts of at most so many rows, one in memory at a time: of all columns, or of some.

    Errors are those of `read`.
    """
    with _opened(path, schema, columns) as (file, names):
        for batch in file.iter_batches(rows, columns=names):
            yield _as_said(path, pa.Table.from_batches([batch]), schema, names)


def groups(
    path: Path, schema: pa.Schema, columns: Sequence[str] | None = None, only: int | None = None
) -> Iterator[pa.Table]:
    """The same by the row groups that it was written in; or the group of this number alone."""
    with _opened(path, schema, columns) as (file, names):
        for group in range(file.num_row_groups) if only is None else [only]:
            yield _as_said(path, file.read_row_group(group, columns=names), schema, names)


def count(path: Path) -> int:
    """How many rows a table has."""
    with _explained(path):
        return int(pq.read_metadata(path).num_rows)


@contextmanager
def _opened(
    path: Path, schema: pa.Schema, columns: Sequence[str] | None
) -> Iterator[tuple[pq.ParquetFile, Sequence[str]]]:
    """The file, and those of its columns that are asked for."""
    names = list(schema.names if columns is None else columns)
    with _explained(path), pq.ParquetFile(path) as file:
        if not set(names) <= set(file.schema_arrow.names):
            _as_said(path, file.schema_arrow.empty_table(), schema, names)
        yield file, names


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns what cannot be read into a UserError."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such table; run the target that makes it, e.g. `snakemake {path}`") from error
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable parquet file ({error}); delete it and run again") from error


def _as_said(path: Path, table: pa.Table, schema: pa.Schema, names: Sequence[str]) -> pa.Table:
    """The columns `names` of the table, in the schema's types; UserError where it lacks one."""
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise UserError(f"{path}: columns {missing} are missing; it was made by another version: delete it, run again")
    try:
        return table.select(names).cast(pa.schema([schema.field(name) for name in names]))
    except pa.ArrowException as error:
        raise UserError(f"{path}: a column has another type ({error}); delete it and run again") from error


def read_rows(paths: Sequence[Path] | Path, schema: pa.Schema) -> list[dict[str, Any]]:
    """All rows of one or more tables of one schema as dictionaries."""
    files = [paths] if isinstance(paths, Path) else paths
    return [row for path in files for row in read(path, schema).to_pylist()]


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; NaN is refused, since readers of JSON do not agree on it."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text)
