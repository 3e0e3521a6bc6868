"""The files of a source and their rows. In: a file, a folder, or a repository of the hub. Out: dictionaries.

A repository of the hub is fetched by `huggingface_hub` at a pinned commit, into its cache; HF_HUB_OFFLINE is respected.
Only data files are fetched: no code of a repository is run, and nothing is unpickled. Parquet, JSON (an array or lines)
and CSV files are streamed and may be larger than memory.
"""

import csv
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmprm.config.sources import DataFiles, ImageFolderSource
from mmprm.problems import json_array
from mmprm.runtime.errors import UserError

PARQUET = (".parquet", ".pq")
READABLE = (*PARQUET, ".json", ".jsonl", ".ndjson", ".csv")
_BATCH = 64  # rows of a parquet file that are in memory
_BUFFER = 2**20  # bytes of a column that are read at a time; without it arrow reads the column of a row group
_HEAD = 1000  # rows of a text file from which its columns are taken
_MARK = b"\xef\xbb\xbf"  # the byte order mark, which may start a text file
_LINE = 2**26  # bytes of a line, or of a field of CSV; longer ones are refused
_DECODED = 2**28  # bytes that a batch of a parquet file may have where few bytes of the file stand for many
_DETAIL = 1000  # characters of a refusal's detail, which may quote the row


class RowRefusedError(Exception):
    """A row (or its image) that is not taken. `reason` is a short code, `detail` a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        detail = detail if len(detail) <= _DETAIL else f"{detail[: _DETAIL - 1]}…"
        detail = detail.encode(errors="replace").decode()  # what is quoted may be no Unicode
        super().__init__(detail)
        self.reason, self.detail = reason, detail

    def __reduce__(self) -> Any:
        return type(self), (self.reason, self.detail)


class Unreadable(str):
    """A row that cannot be read: why. Other than a row that is a text, which is no object."""


@contextmanager
def one_row() -> Iterator[None]:
    """Turn whatever the checks of one row raise into its refusal: a hostile row must not end its source."""
    try:
        yield
    except (RowRefusedError, MemoryError):
        raise
    except Exception as error:
        raise RowRefusedError("bad_row", f"it cannot be read: {type(error).__name__}: {error}") from error


@dataclass(frozen=True)
class SourceFiles:
    """The files of a source, in the order of reading, and the folder to which image paths are relative."""

    files: tuple[Path, ...]
    images: Path
    links: Path | None = None  # another folder into which links in `images` may lead, as the hub's cache has it


def find_files(source: DataFiles) -> SourceFiles:
    """Find the files, or fetch them from the hub; UserError says what is missing and how to get it."""
    if source.path is None:
        folder = _fetched(source)
        files = source.matching(folder)
    else:
        folder = source.path if source.path.is_dir() else source.path.parent
        files = source.local_files()
    if not files:
        raise UserError(
            f"{folder}: no file matches {' or '.join(source.patterns)}; set `files` of the source to the names there"
        )
    for file in files:
        if not file.is_file():
            raise UserError(f"{file}: no such file; set `path` of the source to a {', '.join(READABLE)} file")
        if file.suffix not in READABLE:
            raise UserError(f"{file}: sources are {', '.join(READABLE)} files")
    if isinstance(source, ImageFolderSource):  # names of images are relative to the file that has them
        folder, *others = sorted({file.parent for file in files})
        if others:
            raise UserError(f"{folder} and {others[0]} both have image metadata: make each a source, by `files`")
    if source.path is None or source.path.is_dir():
        _check_links(files, folder)
    images = source.images or folder
    return SourceFiles(tuple(files), images, links=_blobs(images))


def _blobs(folder: Path) -> Path | None:
    """Return where the hub's cache has the files of …/datasets--owner--name/snapshots/COMMIT, None elsewhere."""
    for path in (folder, *folder.parents):
        if path.parent.name == "snapshots" and path.parent.parent.name.startswith("datasets--"):
            return path.parent.parent / "blobs"
    return None


def _check_links(files: Sequence[Path], folder: Path) -> None:
    """Refuse data files of a folder that lie elsewhere: who made the repository may have linked what is the user's."""
    allowed = [place.resolve() for place in (folder, _blobs(folder)) if place is not None]
    for file in files:
        target = file.resolve()
        if not any(target.is_relative_to(place) for place in allowed):
            raise UserError(
                f"{file}: a link out of {folder}, to {target}; if it is yours, set `path` to the file itself"
            )


def _fetched(source: DataFiles) -> Path:
    """Fetch the data files of the repository at its revision; returns the snapshot's folder."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    repo, patterns = str(source.repo), list(source.patterns)
    try:
        return Path(snapshot_download(repo, repo_type="dataset", revision=source.revision, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:  # offline, not there, gated, disk full
        includes = " ".join(f"--include '{pattern}'" for pattern in source.patterns)
        raise UserError(
            f"{source.repo} at {source.revision}: not in the hub's cache, and it cannot be fetched "
            f"({' '.join(str(error).split())[:300]}); with a network, run "
            f"`hf download {source.repo} --repo-type dataset --revision {source.revision} {includes}`, "
            "or set `path` to a local copy"
        ) from error


def read(
    files: Sequence[Path], needed: Mapping[str, str], hint: str, start: int = 0, also: Collection[str] | None = None
) -> Iterator[Any]:
    """Yield the rows of all files, in order: dictionaries (NaN as None), or what else a row is: see `Unreadable`.

    start: how many rows to skip, counted over all files. UserError where a file is damaged, empty or without one of the
    columns `needed` (our name -> name in the file); `hint` ends that message. Of parquet only these columns are read,
    and those of `also` that are there: others may be what cannot be decoded. None: all.
    """
    left = start
    for file in files:
        columns, file_rows = _opened(file)
        if not columns:
            raise UserError(f"{file}: it has no rows")
        for ours, theirs in needed.items():
            if theirs not in columns:
                wanted = f"{theirs!r}" if ours == theirs else f"{theirs!r} for {ours!r}"
                raise UserError(f"{file}: there is no column {wanted}; the columns are {columns}: {hint}")
        if file.suffix in PARQUET:
            passed = min(left, pq.read_metadata(file).num_rows)
            looked_at = columns if also is None else [name for name in columns if name in {*needed.values(), *also}]
            file_rows = _parquet_rows(file, passed, looked_at)
        else:
            passed = sum(1 for _ in islice(file_rows, left))
        left -= passed
        yield from map(without_nan, file_rows)


def count(files: Sequence[Path]) -> int | None:
    """Count the rows of the files; None where only reading them would tell (all but parquet)."""
    if any(file.suffix not in PARQUET for file in files):
        return None
    try:
        return sum(int(pq.read_metadata(file).num_rows) for file in files)
    except (pa.ArrowException, OSError):  # reading the file will report the error
        return None


def without_nan(row: Any) -> Any:
    """Replace NaN, which pandas writes for missing values, by None; a row that is no dictionary is left unchanged."""
    if not isinstance(row, dict):
        return row
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}


def _opened(path: Path) -> tuple[list[str], Iterator[Any]]:
    """Return the columns of a file and its rows (dictionaries; anything else is a row that cannot be read).

    Parquet files give no rows here (see `_parquet_rows`). UserError where the file is not of the kind of its name.
    """
    if path.suffix in PARQUET:
        try:
            return pq.read_schema(path).names, iter(())
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path}: not a readable parquet file ({error})") from error
    if path.suffix == ".csv":
        return _headed(_csv_rows(path))
    with path.open("rb") as file:
        start = file.read(2**16).removeprefix(_MARK).lstrip()
    if path.suffix == ".json" and start.startswith(b"["):
        return _headed(_parsed(text, "element") for text in json_array.elements(path, _LINE, _MARK))
    columns, lines = _headed(_json_lines(path))
    if not columns:
        raise UserError(f"{path}: neither a JSON array of objects nor one JSON object a line")
    return columns, lines


def _headed(values: Iterable[Any]) -> tuple[list[str], Iterator[Any]]:
    """Return the columns of the first rows, and all rows."""
    rows = iter(values)
    head = list(islice(rows, _HEAD))
    columns = dict.fromkeys(name for row in head if isinstance(row, dict) for name in row)
    return list(columns), chain(head, rows)


def _parquet_rows(path: Path, start: int, columns: Sequence[str]) -> Iterator[Any]:
    try:
        with pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
            for group in range(file.num_row_groups):  # one at a time: arrow keeps what it has read until the last
                if start >= file.metadata.row_group(group).num_rows:
                    start -= file.metadata.row_group(group).num_rows
                    continue
                size = _batch_size(file.metadata.row_group(group))
                for batch in file.iter_batches(batch_size=size, row_groups=[group], columns=columns):
                    yield from _rows_of(batch.slice(start))
                    start = max(0, start - len(batch))
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: damaged within its rows ({error}); fetch it again") from error


def _batch_size(group: Any) -> int:
    """Return how many rows may be decoded at once, at most _BATCH.

    A dictionary lets every row repeat its longest value: a file of 2 kB may hold 64 rows of 8 MB.
    """
    chunks = [group.column(index) for index in range(group.num_columns)]
    longest = sum(int(chunk.total_uncompressed_size) for chunk in chunks if chunk.has_dictionary_page)
    return max(1, min(_BATCH, _DECODED // max(1, longest)))


def _rows_of(batch: pa.RecordBatch) -> Iterator[Any]:
    """Yield the rows of a batch, one by one where they are large or one has a value that Python cannot hold."""
    if batch.nbytes <= _LINE:
        try:
            yield from batch.to_pylist()
            return
        except (ArithmeticError, ValueError):  # a date in the year 300,000, a text that is not UTF-8
            pass
    for number in range(len(batch)):
        try:
            yield from batch.slice(number, 1).to_pylist()
        except (ArithmeticError, ValueError) as error:
            yield Unreadable(f"a value cannot be decoded: {error}")


def _json_lines(path: Path) -> Iterator[Any]:
    """Yield one value for each line; for a line that is not JSON a text that says why."""
    with path.open("rb") as file:
        mark = _MARK
        while line := file.readline(_LINE):
            if len(line) == _LINE and not line.endswith(b"\n"):
                while (rest := file.readline(_LINE)) and not rest.endswith(b"\n"):
                    pass
                yield _parsed(None, "line")
                continue
            text, mark = line.removeprefix(mark), b""
            if text.strip():
                yield _parsed(text, "line")


def _parsed(text: bytes | None, what: str) -> Any:
    if text is None:
        return Unreadable(f"the {what} has more than {_LINE:,} bytes")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        return Unreadable(f"the {what} is not JSON: {error}")


def _csv_rows(path: Path) -> Iterator[Any]:
    """Yield rows of texts, None for empty fields. Not with arrow, which refuses a block of rows for one bad row."""
    csv.field_size_limit(_LINE)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        table = csv.DictReader(file)
        try:
            if table.fieldnames is None:
                return
        except csv.Error as error:
            raise UserError(f"{path}: not a readable CSV file ({error})") from error
        while True:
            try:
                row = next(table)
            except StopIteration:
                return
            except csv.Error as error:  # a field of more than _LINE characters
                yield Unreadable(f"the line is not CSV: {error}")
                continue
            if None in row:
                yield Unreadable("the line has more fields than the header")
            else:
                yield {name: value or None for name, value in row.items()}
