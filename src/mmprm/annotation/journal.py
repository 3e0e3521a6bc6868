"""The journal of finished requests: what was sampled once is never sampled again. In and out: JSON lines in a folder.

Every writer has a file of its own, every reader reads all files, so that neither shards nor restarts matter, and two
writers at once do no harm. A line is `{"crc": "…", "key": "…", "entry": {…}}`; the checksum is over what follows it. Of
two lines with one key the later counts (a later one is a new grading of the same completions).
"""

from __future__ import annotations

import json
import os
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mmprm.annotation.progress import say
from mmprm.engine.base import Completion

_HEAD = b'{"crc": "'
_KEY = b'", "key": "'
_ENTRY = b'", "entry": '
_CHECKED = len(_HEAD) + 8  # the checksum is over the bytes from here on
_SYNC_SECONDS = 1.0


@dataclass(frozen=True)
class Entry:
    """What is kept of a finished request. `verdicts` holds (verdict, method) for each completion."""

    completions: tuple[Completion, ...]
    verdicts: tuple[tuple[str, str], ...]
    grading: str  # grading.VERSION of the verdicts


class Journal:
    """All entries of a folder by request key. `writer` names this process's file; it is made at the first append."""

    def __init__(self, folder: Path, writer: str) -> None:
        self.folder = folder
        self._writer = writer
        self._places: dict[str, tuple[Path, int, int]] = {}  # offsets, not texts: a long run's journal has gigabytes
        self._readers: dict[Path, BinaryIO] = {}
        self._file: BinaryIO | None = None
        self._synced = time.monotonic()
        for path in sorted(folder.glob("*.jsonl")):
            self._index(path)

    def __len__(self) -> int:
        return len(self._places)

    def _index(self, path: Path) -> None:
        offset = 0
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                key = _checked_key(line)
                if key is not None:
                    self._places[key] = (path, offset, len(line))
                elif not line.endswith(b"\n"):
                    say(f"journal: dropped the torn last line of {path.name} (the writer was stopped there)")
                else:
                    say(f"journal: line {number} of {path} is damaged; its request will be sampled again")
                offset += len(line)

    def get(self, key: str) -> Entry | None:
        """The entry of a request, read from its file; None where there is none."""
        if key not in self._places:
            return None
        path, offset, length = self._places[key]
        if path not in self._readers:
            self._readers[path] = path.open("rb")
        self._readers[path].seek(offset)
        entry = json.loads(self._readers[path].read(length))["entry"]
        return Entry(
            tuple(Completion(*values) for values in entry["completions"]),
            tuple((verdict, method) for verdict, method in entry["verdicts"]),
            entry["grading"],
        )

    def append(self, key: str, entry: Entry) -> None:
        """Write an entry. When this returns the operating system has it: a kill does not lose it, and a power cut no
        more than about a second."""
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Names sort by time. "xb": a writer never appends to a file whose last line may be torn.
            path = self.folder / f"{time.time_ns():020d}-{self._writer}-{os.getpid()}.jsonl"
            self._file, self._path, self._end = path.open("xb", buffering=0), path, 0
        value = {
            "completions": [[c.text, c.n_tokens, c.finish_reason] for c in entry.completions],
            "verdicts": [list(pair) for pair in entry.verdicts],
            "grading": entry.grading,
        }
        body = _KEY + key.encode() + _ENTRY + json.dumps(value, ensure_ascii=True).encode() + b"}\n"
        line = _HEAD + f"{zlib.crc32(body):08x}".encode() + body
        written = 0
        while written < len(line):  # an unbuffered write may take a part only
            written += self._file.write(line[written:])
        self._places[key] = (self._path, self._end, len(line))
        self._end += len(line)
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def close(self) -> None:
        """Flush to disk and close all files."""
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()


def _checked_key(line: bytes) -> str | None:
    """The key of a whole and undamaged line, else None."""
    body = line[_CHECKED:]
    if not line.endswith(b"}\n") or not line.startswith(_HEAD) or not body.startswith(_KEY):
        return None
    if f"{zlib.crc32(body):08x}".encode() != line[len(_HEAD) : _CHECKED]:
        return None
    return body[len(_KEY) : body.index(_ENTRY)].decode()
