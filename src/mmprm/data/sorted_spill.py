"""Rows sorted on disk by the names of their problems, for tables that are made in another order than they are kept."""

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from mmprm.data.tables import as_table
from mmprm.runtime import disk


class SortedSpill:
    """Context manager that sorts rows on disk by their names (problem ids), in an unnamed temporary file.

    The file disappears however the process ends. Positions are in memory, some 200 bytes a name.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._schema = schema
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__)
        self._positions: dict[str, list[tuple[int, int, int]]] = defaultdict(list)  # offset, size, uncompressed size
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # of a full disk, for the second time: nobody reads what is left
            self._file.close()

    def __contains__(self, name: str) -> bool:
        return name in self._positions

    @property
    def names(self) -> list[str]:
        """All names that have rows, sorted."""
        return sorted(self._positions)

    def add(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows to a name; ValueError where a row has other columns than the schema."""
        if rows:
            self.add_table(name, as_table(rows, self._schema))

    def add_table(self, name: str, table: pa.Table) -> None:
        """Add the rows of an arrow table to a name."""
        for batch in table.combine_chunks().to_batches():
            plain = batch.serialize()
            packed = pa.compress(plain, "lz4")
            with disk.naming(self._folder):
                self._file.write(packed)
            self._positions[name].append((self._end, packed.size, plain.size))
            self._end += packed.size

    def table(self, name: str) -> pa.Table:
        """Return the rows of a name, in the order in which they were added."""
        with disk.naming(self._folder):
            self._file.flush()
        batches = []
        for offset, size, plain_size in self._positions.get(name, []):
            self._file.seek(offset)
            plain = pa.decompress(self._file.read(size), plain_size, "lz4")
            batches.append(pa.ipc.read_record_batch(plain, self._schema))
        self._file.seek(self._end)
        return pa.Table.from_batches(batches, self._schema)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield all rows, in the order of the names."""
        for name in self.names:
            yield from self.table(name).to_pylist()
