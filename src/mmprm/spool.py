"""Rows that come in any order and go out sorted, without ever being in memory together."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmprm import tables


class Spool:
    """The rows of each name (a problem id), on disk until all are there. A file without a name holds them: it goes with
    the process, however that ends."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._schema = schema
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__)
        self._writer = pq.ParquetWriter(self._file, schema, compression="lz4")
        self._groups: dict[str, list[int]] = {}
        self._n_groups = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # A writer that is not closed would write its footer when it is collected, into a closed file.
        self._writer.close()
        self._file.close()

    def add(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows of a name, in their order; ValueError where a row has other columns than the table."""
        if rows:
            table = tables.as_table(rows, self._schema)
            self._groups.setdefault(name, []).append(self._n_groups)
            self._n_groups += 1
            self._writer.write_table(table, row_group_size=len(table))

    def rows(self) -> Iterator[dict[str, Any]]:
        """All rows, by name, those of a name as they were added; nothing can be added afterwards."""
        self._writer.close()
        self._file.flush()
        self._file.seek(0)
        file = pq.ParquetFile(self._file)
        for name in sorted(self._groups):
            for group in self._groups[name]:
                yield from file.read_row_group(group).to_pylist()
