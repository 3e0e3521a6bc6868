"""The files of a source and their rows. In: a file, a folder, or a repository of the hub. Out: dictionaries.

A repository of the hub is fetched by `huggingface_hub` at a pinned commit, into its cache; HF_HUB_OFFLINE is respected.
Only data files are fetched: no code of a repository is run, and nothing is unpickled. Parquet, JSON (an array or lines)
and CSV files are streamed and may be larger than memory, except an object of rows (`{id: {…}, …}`).
"""

import gzip
import io
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from mmprm.config.data_files import DataFiles
from mmprm.config.sources import ImageFolderSource
from mmprm.problems import csv_rows, json_array, json_rows
from mmprm.problems.parquet_rows import parquet_rows
from mmprm.problems.refusals import Row, Unreadable, with_place
from mmprm.runtime.errors import UserError

PARQUET = (".parquet", ".pq")
LINES = (".jsonl", ".ndjson")
TABLES = {".csv": ",", ".tsv": "\t"}  # and what stands between their fields
PACKED = (".gz", ".zst")  # of files that are read line by line
READABLE = (*PARQUET, ".json", *LINES, *TABLES, *(f"{form}{packed}" for form in (*LINES, *TABLES) for packed in PACKED))
_HEAD = 1000  # rows of a text file from which its columns are taken


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
        if form_of(file) not in READABLE:
            raise UserError(f"{file}: sources are {', '.join(READABLE)} files")
    if source.images is not None and not source.images.is_dir():
        raise UserError(f"{source.images}: no such folder; set `images` of the source to the folder of its pictures")
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


def form_of(path: Path) -> str:
    """Return the suffix that tells how a file is read: of `own.jsonl.gz` it is `.jsonl.gz`."""
    return "".join(path.suffixes[-2:]) if path.suffix in PACKED else path.suffix


def read(
    files: Sequence[Path], needed: Mapping[str, str], hint: str, start: int = 0, also: Collection[str] | None = None
) -> Iterator[Any]:
    """Yield the rows of all files, in order: a Row (NaN as None) or an Unreadable; both know where they stand.

    start: how many rows to skip, counted over all files. UserError where a file is damaged, has one of the columns
    `needed` (our name -> name in the file) not or twice, or where no file has a row; `hint` ends that message. Of
    parquet only these columns are read, and those of `also` that are there: others may be what cannot be decoded.
    None: all.
    """
    left, empty = start, start == 0
    for file, name in zip(files, _names(files), strict=True):
        columns, file_rows = _opened(file, name, set(needed.values()))
        if not columns:  # a shard without rows
            continue
        wanted = set(columns) if also is None else {*needed.values(), *also}
        for ours, theirs in needed.items():
            if theirs not in columns:
                lacking = f"{theirs!r}" if ours == theirs else f"{theirs!r} for {ours!r}"
                raise UserError(f"{file}: there is no column {lacking}; the columns are {columns}: {hint}")
        for column, times in Counter(columns).items():
            if times > 1 and column in wanted:
                raise UserError(f"{file}: there are {times} columns {column!r}; rename or remove all but one")
        if file.suffix in PARQUET:
            passed = min(left, pq.read_metadata(file).num_rows)
            file_rows = parquet_rows(file, name, passed, [column for column in columns if column in wanted])
        else:
            passed = sum(1 for _ in islice(file_rows, left))
        left -= passed
        for row in file_rows:
            empty = False
            yield row
    if empty:
        raise UserError(f"there are no rows in {', '.join(map(str, files[:3]))}{' …' if len(files) > 3 else ''}")


def _names(files: Sequence[Path]) -> list[str]:
    """Return what refusals call the files: their names, or their paths where two have one name."""
    names = [file.name for file in files]
    return names if len(set(names)) == len(names) else list(map(str, files))


def count(files: Sequence[Path]) -> int | None:
    """Count the rows of the files; None where only reading them would tell (all but parquet)."""
    if any(file.suffix not in PARQUET for file in files):
        return None
    try:
        return sum(int(pq.read_metadata(file).num_rows) for file in files)
    except (pa.ArrowException, OSError):  # reading the file will report the error
        return None


def _opened(path: Path, name: str, needed: Collection[str]) -> tuple[list[str], Iterator[Any]]:
    """Return the columns of a file and its rows; no columns where it has no rows.

    Parquet files give no rows here (see `parquet_rows`). UserError where the file is not of the kind of its name.
    """
    if path.suffix in PARQUET:
        try:
            return pq.read_schema(path).names, iter(())
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path}: not a readable parquet file ({error})") from error
    form = form_of(path).removesuffix(path.suffix if path.suffix in PACKED else "")
    with _bytes(path) as file:
        start = _peek(path, file)
    if not start:
        return [], iter(())
    if form in TABLES:
        table = csv_rows.rows(io.TextIOWrapper(_bytes(path), "utf-8-sig", "surrogateescape", ""), name, TABLES[form])
        return next(table, []), table
    # Some name an array .jsonl.
    if path.suffix not in PACKED and re.match(rb"\[" if form == ".json" else rb"\[\s*[{\]]", start):
        return _headed(_array(path, name))
    if form == ".json" and (found := _whole_object(path, name, needed)) is not None:
        return _headed(found)
    columns, lines = _headed(json_rows.lines(_bytes(path), name))
    if not columns:
        first = next(lines, "")
        why = f"; {with_place(first, first)}" if isinstance(first, Unreadable) else ""
        raise UserError(f"{path}: neither a JSON array of objects nor one JSON object a line{why}")
    return columns, lines


def _bytes(path: Path) -> BinaryIO:
    """Open a file, unpacked."""
    if path.suffix == ".gz":
        return gzip.open(path)  # type: ignore[return-value]
    if path.suffix == ".zst":
        return io.BufferedReader(pa.input_stream(path, compression="zstd"))
    return path.open("rb")


def _peek(path: Path, file: BinaryIO) -> bytes:
    """Return the start of a file of text behind its mark and blanks; UserError where it is not UTF-8 or not packed."""
    try:
        start = file.read(2**16)
    except (OSError, EOFError, pa.ArrowException) as error:
        raise UserError(f"{path}: it cannot be unpacked ({error})") from error
    utf16 = start.startswith((b"\xff\xfe", b"\xfe\xff")) or (start[1:2] == b"\0" and start[:1] in (b"[", b"{"))
    if utf16:
        raise UserError(f"{path}: it is UTF-16; write it as UTF-8: `iconv -f UTF-16 -t UTF-8 {path.name} > new`")
    return start.removeprefix(json_rows.MARK).lstrip()


def _array(path: Path, name: str) -> Iterator[Any]:
    for number, text in enumerate(json_array.elements(path, json_rows.LINE, json_rows.MARK)):
        yield from json_rows.parsed(text, "element", f"{name}, item {number} (from 0)")


def _whole_object(path: Path, name: str, needed: Collection[str]) -> list[Any] | None:
    """Return the rows of a file that is one JSON object, a table; None where it may be JSON Lines, or one row."""
    with path.open("rb") as file:
        first, more = file.readline(), file.readline().strip()
        try:
            if isinstance(json.loads(first.removeprefix(json_rows.MARK)), dict) and more:
                return None
        except (ValueError, RecursionError):
            pass
    try:
        whole = json_rows.loads(path.read_bytes().removeprefix(json_rows.MARK))
        found = None if needed and set(needed) <= set(whole) else json_rows.objects_within(whole)
    except RecursionError:
        return None
    except json_rows.AmbiguousError as error:
        raise UserError(f"{path}: {error}") from error
    except ValueError:
        return None  # lines, some of which are torn
    if found is None:
        return [json_rows.placed(whole, f"{name}, line 1")]
    return [json_rows.placed(row, f"{name}, {place}") for place, row in found]


def _headed(values: Iterable[Any]) -> tuple[list[str], Iterator[Any]]:
    """Return the columns of the first rows, and all rows."""
    rows = iter(values)
    head = list(islice(rows, _HEAD))
    columns = dict.fromkeys(name for row in head if isinstance(row, Row) for name in row)
    return list(columns), chain(head, rows)
