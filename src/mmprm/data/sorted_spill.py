"""Rows that come in any order and go out sorted, without ever being in memory together."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from mmprm.data import tables

_CODEC = "lz4"


class SortedSpill:
    """The rows of each name (a problem id), on disk until all are there. A file without a name holds them: it goes with
    the process, however that ends. In memory stands where each name's rows are, some 200 bytes a name."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._schema = schema
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__)
        self._places: dict[str, list[tuple[int, int, int]]] = defaultdict(list)  # offset, size, size when unpacked
        self._end = 0

    def __enter__(self) -> SortedSpill:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def __contains__(self, name: str) -> bool:
        return name in self._places

    @property
    def names(self) -> list[str]:
        """All names that have rows, sorted."""
        return sorted(self._places)

    def add(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows of a name, behind those that it has; ValueError where a row has other columns than the table."""
        if rows:
            self.add_table(name, tables.as_table(rows, self._schema))

    def add_table(self, name: str, table: pa.Table) -> None:
        """The same of rows that are an arrow table already."""
        for batch in table.combine_chunks().to_batches():
            plain = batch.serialize()
            packed = pa.compress(plain, _CODEC)
            self._file.write(packed)
            self._places[name].append((self._end, packed.size, plain.size))
            self._end += packed.size

    def table(self, name: str) -> pa.Table:
        """The rows of a name, in the order in which they came."""
        self._file.flush()
        found = []
        for offset, size, unpacked in self._places.get(name, []):
            self._file.seek(offset)
            plain = pa.decompress(self._file.read(size), unpacked, _CODEC)
            found.append(pa.ipc.read_record_batch(plain, self._schema))
        self._file.seek(self._end)
        return pa.Table.from_batches(found, self._schema)

    def rows(self) -> Iterator[dict[str, Any]]:
        """All rows, by name."""
        for name in self.names:
            yield from self.table(name).to_pylist()
