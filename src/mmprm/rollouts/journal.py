"""The journal of finished requests: what was sampled once is never sampled again. In and out: files of a folder.

Every writer has its own file, every reader reads all files, so that neither shards nor restarts matter, and two writers
at once do no harm. A writer appends JSON lines; at the end of a shard its lines are compacted into parquet.

A line is `{"crc": "…", "key": "…", "entry": {…}}`; the checksum is over the bytes after it. A row of parquet has one
over its other columns. What is damaged is named and its requests are sampled again: a line, a row, or a file that
parquet cannot open, which is renamed to `….damaged`. Of two entries with the same key the later counts (it is a new
grading of the same completions).
"""

import contextlib
import functools
import json
import os
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from mmprm.data import schemas, tables
from mmprm.engine.base import Completion, unusable
from mmprm.runtime import disk
from mmprm.runtime.locks import try_flock
from mmprm.runtime.log import log

_HEAD = b'{"crc": "'
_KEY = b'", "key": "'
_ENTRY = b'", "entry": '
_PROBLEM = '{"problem": '
_CHECKED = len(_HEAD) + 8  # the checksum is over the bytes from here on
_SYNC_SECONDS = 1.0
_GROUP = 256  # entries that are read from parquet at once; those of a problem are stored together
_GROUPS_KEPT = 8
# What reading damaged parquet or damaged values raises. Arrow's own errors are OSErrors too, without a number.
_DAMAGE = (pa.ArrowException, ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError)


@dataclass(frozen=True)
class Entry:
    """The record of a finished request. `verdicts` holds (verdict, method) for each completion."""

    completions: tuple[Completion, ...]
    verdicts: tuple[tuple[str, str], ...]
    grading: str  # grading.VERSION of the verdicts
    problem_id: str = ""


class Journal:
    """All entries of a folder by request key. `writer` names this process's file, which the first append creates."""

    def __init__(self, folder: Path, writer: str) -> None:
        self.folder = folder
        self._writer = writer
        self._readers: dict[Path, BinaryIO] = {}
        self._tables: dict[Path, pq.ParquetFile] = {}
        self._group = functools.lru_cache(maxsize=_GROUPS_KEPT)(self._read_group)
        self._file: BinaryIO | None = None
        self._synced = time.monotonic()
        # Locations, not texts: a long run's journal has gigabytes. Of a line (offset, length), of parquet (group, row).
        self._locations = self._indexed()

    def __len__(self) -> int:
        return len(self._locations)

    def _indexed(self) -> dict[str, tuple[Path, int, int]]:
        """Locate all entries; files are read in the order of their names, which is that of time."""
        locations = {}
        for path in sorted([*self.folder.glob("*.jsonl"), *self.folder.glob("*.parquet")], key=lambda path: path.name):
            try:
                if path.suffix == ".jsonl":
                    locations.update({key: (path, offset, len(line)) for key, offset, line in _lines(path)})
                else:
                    locations.update(_rows_of(path))
            except FileNotFoundError:  # just compacted, into a file that the list lacks
                return self._indexed()
        return locations

    def get(self, key: str) -> Entry | None:
        """Read the entry of a request from its file; None if there is none."""
        if key not in self._locations:
            return None
        try:
            return self._read_checked(key)
        except FileNotFoundError:  # another process has compacted it
            self._locations = self._indexed()
            return self._read_checked(key) if key in self._locations else None

    def _read_checked(self, key: str) -> Entry | None:
        """Read an entry; None, and a warning, where what is stored is damaged or could never have been used."""
        path = self._locations[key][0]
        try:
            entry = self._read(*self._locations[key])
            wrong = next(filter(None, map(unusable, entry.completions)), None)
        except _DAMAGE as error:
            wrong = f"damaged ({_damage(error)})"
        if wrong is None:
            return entry
        log.warning(f"journal: the entry {key} of {path} is {wrong}; its request will be sampled again")
        del self._locations[key]
        return None

    def _read(self, path: Path, start: int, extent: int) -> Entry:
        if path.suffix == ".parquet":
            row = self._group(path, start)[extent]
            if row.get("crc") not in (None, _crc(row)):
                raise ValueError("another checksum")
            completions = zip(row["text"], row["n_tokens"], row["finish_reason"], strict=True)
            verdicts = zip(row["verdict"], row["method"], strict=True)
            return _entry(completions, verdicts, row["grading"], row["problem_id"])
        if path not in self._readers:
            self._readers[path] = path.open("rb")
        self._readers[path].seek(start)
        value = json.loads(self._readers[path].read(extent))["entry"]
        return _entry(value["completions"], value["verdicts"], value["grading"], value.get("problem", ""))

    def _read_group(self, path: Path, group: int) -> list[dict[str, Any]]:
        if path not in self._tables:
            self._tables[path] = pq.ParquetFile(path)
        rows: list[dict[str, Any]] = self._tables[path].read_row_group(group).to_pylist()
        return rows

    def append(self, key: str, entry: Entry) -> None:
        """Write an entry. Once this returns, a kill does not lose it, and a power cut loses about a second at most.

        ValueError for completions that no table can hold: engines give none.
        """
        if wrong := next(filter(None, map(unusable, entry.completions)), None):
            raise ValueError(f"{key}: {wrong}")
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"{self._name()}.jsonl"
            # "xb": a writer never appends to a file whose last line may be torn.
            self._file, self._path, self._end = path.open("xb", buffering=0), path, 0
            _lock(self._file)
        value = {
            "problem": entry.problem_id,
            "completions": [[c.text, c.n_tokens, c.finish_reason] for c in entry.completions],
            "verdicts": [list(pair) for pair in entry.verdicts],
            "grading": entry.grading,
        }
        body = _KEY + key.encode() + _ENTRY + json.dumps(value, ensure_ascii=True).encode() + b"}\n"
        line = _HEAD + f"{zlib.crc32(body):08x}".encode() + body
        written = 0
        with disk.naming(self._path):
            while written < len(line):  # an unbuffered write may be partial
                written += self._file.write(line[written:])
            self._locations[key] = (self._path, self._end, len(line))
            self._end += len(line)
            if time.monotonic() - self._synced > _SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()

    def compact(self) -> None:
        """Turn the lines of this shard, of this process and of those before it, into one parquet file.

        Nothing can be appended after it. Files that another process holds (the same shard, run twice by mistake) are
        not touched. If the disk is full, nothing is compacted and the lines stay.
        """
        self.close()
        held = []
        for path in sorted(self.folder.glob(f"*-{self._writer}-*.jsonl")):
            file = path.open("rb")
            if _lock(file):
                held.append((path, file))
            else:
                file.close()
        try:
            current = [
                (_problem_of(line), key, path, offset, len(line))
                for path, _ in held
                for key, offset, line in _lines(path)
                if self._locations.setdefault(key, (path, offset, len(line))) == (path, offset, len(line))
            ]
            if current:
                rows = (_row(key, entry) for _, key, *_ in sorted(current) if (entry := self.get(key)) is not None)
                name = f"{self._name()}.parquet"  # a new one, so that none is overwritten
                tables.write(self.folder / name, rows, schemas.JOURNAL, group=_GROUP)
            for path, _ in held:
                with contextlib.suppress(PermissionError):  # another user's, in a cache that both write to
                    path.unlink()
        except OSError as error:
            log.warning(f"journal: {self.folder} was not compacted ({error}); nothing is lost, its lines stay")
        finally:
            self.close()
            for _, file in held:
                file.close()

    def _name(self) -> str:
        """Name a new file of this writer. Names sort by time."""
        return f"{time.time_ns():020d}-{self._writer}-{os.getpid()}"

    def close(self) -> None:
        """Flush to disk and close all files."""
        if self._file is not None:
            with disk.naming(self._path):
                os.fsync(self._file.fileno())
            self._file.close()
            self._file = None
        for reader in (*self._readers.values(), *self._tables.values()):
            reader.close()
        self._readers.clear()
        self._tables.clear()


def _lock(file: BinaryIO) -> bool:
    """Hold a file until it is closed; False if another process holds it, or the file system has no locks."""
    try:
        return try_flock(file)
    except OSError:
        return False


def _lines(path: Path) -> Iterator[tuple[str, int, bytes]]:
    """Iterate over (key, offset, line) of the undamaged lines of a file; warns of the others."""
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            body = line[_CHECKED:]
            framed = line.startswith(_HEAD) and body.startswith(_KEY) and line.endswith(b"}\n")
            if framed and line[len(_HEAD) : _CHECKED] == f"{zlib.crc32(body):08x}".encode():
                yield body[len(_KEY) : body.index(_ENTRY)].decode(), offset, line
            elif not line.endswith(b"\n"):
                log.warning(f"journal: dropped the torn last line of {path.name} (the writer was stopped there)")
            else:
                log.warning(f"journal: line {number} of {path} is damaged; its request will be sampled again")
            offset += len(line)


def _damage(error: Exception) -> Exception:
    """Return an error of damaged content, on one line; raise one of the system's, such as a file that is not there."""
    if isinstance(error, OSError) and error.errno is not None:
        raise error
    return type(error)(" ".join(str(error).split())[:200])


def _rows_of(path: Path) -> Iterator[tuple[str, tuple[Path, int, int]]]:
    """Iterate over the keys of a compacted file, each with its location; sets a file aside that cannot be opened."""
    try:
        file = pq.ParquetFile(path)
    except _DAMAGE as error:
        aside = path.with_name(f"{path.name}.damaged")
        log.warning(f"journal: {path} is damaged ({_damage(error)}); it is now {aside.name}, and sampled again")
        path.rename(aside)
        return
    with file:
        for group in range(file.num_row_groups):
            try:
                # As bytes: one that is no text costs its own entry, not those beside it.
                keys = file.read_row_group(group, ["key"])["key"].cast(pa.binary()).to_pylist()
            except _DAMAGE as error:
                log.warning(f"journal: part {group} of {path} is damaged ({_damage(error)}); it is sampled again")
                continue
            for row, key in enumerate(keys):
                yield (key or b"").decode(errors="replace"), (path, group, row)


def _problem_of(line: bytes) -> str:
    """Read the problem of a line, without parsing the rest of it; empty in a line of an older version."""
    entry = line[line.index(_ENTRY) + len(_ENTRY) :].decode()
    if not entry.startswith(_PROBLEM):
        return ""
    problem: str = json.JSONDecoder().raw_decode(entry, len(_PROBLEM))[0]
    return problem


def _entry(completions: Iterable[Any], verdicts: Iterable[Any], grading: str, problem_id: str) -> Entry:
    pairs = tuple((verdict, method) for verdict, method in verdicts)
    return Entry(tuple(Completion(*values) for values in completions), pairs, grading, problem_id)


def _crc(row: Mapping[str, Any]) -> int:
    """Return the checksum of a row's columns but its own."""
    return zlib.crc32(json.dumps([row[name] for name in schemas.JOURNAL.names if name != "crc"]).encode())


def _row(key: str, entry: Entry) -> dict[str, Any]:
    row = {
        "problem_id": entry.problem_id,
        "key": key,
        "grading": entry.grading,
        "text": [completion.text for completion in entry.completions],
        "n_tokens": [completion.n_tokens for completion in entry.completions],
        "finish_reason": [completion.finish_reason for completion in entry.completions],
        "verdict": [verdict for verdict, _ in entry.verdicts],
        "method": [method for _, method in entry.verdicts],
    }
    return row | {"crc": _crc(row)}
