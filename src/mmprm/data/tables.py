"""Read and write tables, JSON and text files; writes are atomic: a file is complete or absent. Schemas: schemas.py."""

import json
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmprm.runtime import disk
from mmprm.runtime.errors import UserError

Item = TypeVar("Item")

_IMAGE_BYTES = 2**27  # image bytes at which a row group ends: arrow cannot build or read one of more than 2 GB


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, renamed onto it when the block succeeds and removed when it raises.

    An OSError that names no file, as one of a full disk, names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk.naming(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(usual_mode())  # mkstemp lets only the owner read its file
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def usual_mode() -> int:
    """Return the mode that the user's umask gives to a new file."""
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


@contextmanager
def _writing(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        yield writer


def write(path: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema, group: int | None = None) -> None:
    """Write rows (mappings with exactly the schema's columns) as parquet, atomically.

    One row group of `group` rows is in memory at a time; groups with images are smaller and may end early.
    """
    group = group or (256 if "images" in schema.names else 8192)
    with _writing(path, schema) as writer:
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
    """Give a function that appends one row to the table, which exists once the block has succeeded."""
    waiting: list[Mapping[str, Any]] = []
    with _writing(path, schema) as writer:

        def add(row: Mapping[str, Any]) -> None:
            waiting.append(row)
            if len(waiting) == group:
                writer.write_table(as_table(waiting, schema))
                waiting.clear()

        yield add
        writer.write_table(as_table(waiting, schema))


def write_parts(path: Path, parts: Iterable[pa.Table], schema: pa.Schema, group: int = 8192) -> None:
    """Write arrow tables as the file that `write` makes of their rows, one row group in memory at a time."""
    waiting: list[pa.Table] = []
    with _writing(path, schema) as writer:
        for part in parts:
            waiting.append(part)
            while sum(map(len, waiting)) >= group:
                table = pa.concat_tables(waiting).combine_chunks()
                writer.write_table(table.slice(0, group))
                waiting = [table.slice(group)]
        if sum(map(len, waiting)):
            writer.write_table(pa.concat_tables(waiting).combine_chunks())


def as_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Convert rows to an arrow table; ValueError unless each has exactly the schema's columns."""
    names = set(schema.names)
    for row in rows:
        if row.keys() != names:  # arrow would drop additional columns and write null for missing ones
            raise ValueError(f"a row has columns {sorted(row)}, the table {sorted(names)}")
    return pa.Table.from_pylist(rows, schema=schema)


def read(path: Path, schema: pa.Schema, problem_ids: Collection[str] | None = None) -> pa.Table:
    """Read a table of the run, or only the rows of some of its problems; UserError where it has another schema."""
    # The type is given because arrow cannot infer one from an empty list.
    wanted = None if problem_ids is None else pc.field("problem_id").isin(pa.array(problem_ids, pa.string()))
    with _explained(path):
        table = pq.read_table(path, filters=wanted)
    return _matching(path, table, schema, schema.names)


def batches(
    path: Path, schema: pa.Schema, columns: Sequence[str] | None = None, rows: int = 4096, group: int | None = None
) -> Iterator[pa.Table]:
    """Read columns of a table, or of its row group `group`, in parts of at most `rows` rows; errors as of `read`."""
    with _opened(path, schema, columns) as (file, names):
        for batch in file.iter_batches(rows, columns=names, row_groups=None if group is None else [group]):
            yield _matching(path, pa.Table.from_batches([batch]), schema, names)


def groups(
    path: Path, schema: pa.Schema, columns: Sequence[str] | None = None, only: int | None = None
) -> Iterator[pa.Table]:
    """Read a table by the row groups in which it was written, or only the group of this number."""
    with _opened(path, schema, columns) as (file, names):
        for group in range(file.num_row_groups) if only is None else [only]:
            yield _matching(path, file.read_row_group(group, columns=names), schema, names)


def span(path: Path, schema: pa.Schema, start: int, stop: int, rows: int = 4096) -> Iterator[pa.Table]:
    """Read the rows start..stop of a table in parts of at most `rows` rows; errors are those of `read`."""
    with _opened(path, schema, None) as (file, names):
        ends = list(accumulate(file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)))
        groups = [group for group, end in enumerate(ends) if end > start and (ends[group - 1] if group else 0) < stop]
        at = ends[groups[0] - 1] if groups and groups[0] else 0
        for batch in file.iter_batches(rows, columns=names, row_groups=groups):
            part = batch[max(0, start - at) : max(0, stop - at)]
            at += len(batch)
            if len(part):
                yield _matching(path, pa.Table.from_batches([part]), schema, names)


def group_sizes(path: Path, schema: pa.Schema) -> list[tuple[int, int]]:
    """Return the rows and the bytes (uncompressed) of each row group; errors are those of `read`."""
    with _opened(path, schema, None) as (file, _):
        groups = (file.metadata.row_group(group) for group in range(file.num_row_groups))
        return [(group.num_rows, group.total_byte_size) for group in groups]


def count(path: Path) -> int:
    """Count the rows of a table."""
    with _explained(path):
        return int(pq.read_metadata(path).num_rows)


def group_count(path: Path, schema: pa.Schema) -> int:
    """Count the row groups of a table; errors are those of `read`."""
    with _opened(path, schema, None) as (file, _):
        return int(file.num_row_groups)


def unique(
    items: Iterable[Item],
    kind: str,
    where: Iterable[object],
    advice: str,
    key: Callable[[Item], object] = lambda item: item,
) -> Iterator[Item]:
    """Pass the items on; raise the error of `duplicate` at the first whose key occurred before."""
    seen: set[object] = set()
    for item in items:
        if key(item) in seen:
            raise duplicate(kind, key(item), where, advice)
        seen.add(key(item))
        yield item


def duplicate(kind: str, key: object, where: Iterable[object], advice: str) -> UserError:
    """Make the error for a key that occurs twice; kind: what it identifies; where: the tables or sources read."""
    names = [str(name) for name in where]
    listed = ", ".join(names if len(names) <= 8 else [*names[:7], f"… ({len(names)} in all)"])
    return UserError(f"{kind} {key!r} occurs twice in {listed}; {advice}")


@contextmanager
def _opened(
    path: Path, schema: pa.Schema, columns: Sequence[str] | None
) -> Iterator[tuple[pq.ParquetFile, Sequence[str]]]:
    """Open the file; gives it and the names of the columns to read."""
    names = list(schema.names if columns is None else columns)
    # Not buffered beforehand: Arrow would hold all row groups that are asked for, however few rows are read at a time.
    with _explained(path), pq.ParquetFile(path, pre_buffer=False) as file:
        if not set(names) <= set(file.schema_arrow.names):
            _matching(path, file.schema_arrow.empty_table(), schema, names)
        yield file, names


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn errors of reading a table into a UserError."""
    try:
        with disk.explained(), disk.naming(path):  # one that may not be read is not damaged
            yield
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such table; run the target that makes it, e.g. `snakemake {path}`") from error
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable parquet file ({error}); delete it and run again") from error


def _matching(path: Path, table: pa.Table, schema: pa.Schema, names: Sequence[str]) -> pa.Table:
    """Select the columns `names` in the schema's types; UserError where one is missing or has another type."""
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise UserError(f"{path}: columns {missing} are missing; it was made by another version: delete it, run again")
    try:
        return table.select(names).cast(pa.schema([schema.field(name) for name in names]))
    except pa.ArrowException as error:
        raise UserError(f"{path}: a column has another type ({error}); delete it and run again") from error


def read_rows(paths: Sequence[Path] | Path, schema: pa.Schema) -> list[dict[str, Any]]:
    """Read all rows of one or more tables of one schema as dictionaries."""
    files = [paths] if isinstance(paths, Path) else paths
    return [row for path in files for row in read(path, schema).to_pylist()]


def usage_path(table: Path) -> Path:
    """Return the path of the cost (JSON) of sampling or scoring a table."""
    return table.with_name(f"{table.name}.usage.json")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; ValueError where it holds a NaN, which not all readers of JSON accept."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
