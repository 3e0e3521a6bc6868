"""All problems of a curation side by side. In: files of signatures. Out: `ProblemIndex`, columns of numpy arrays.

The rows stand in one order, whatever that of the tables' rows: by table, then by id. The grey copies of pictures are
in a file without a name and are read where two pictures are compared; all else is in memory, some 5 kB a problem.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmprm.curation import pictures
from mmprm.curation.signatures import SIGNATURES
from mmprm.data import tables

_KEPT = [name for name in SIGNATURES.names if name not in ("copy", "pending")]
_PLACED = [pa.field(name, pa.int64()) for name in ("table", "position", "first")]
_NOTHING = pa.schema([*(SIGNATURES.field(name) for name in _KEPT), *_PLACED]).empty_table()


@dataclass(frozen=True)
class Ragged:
    """A list a row: those of row i are `values[starts[i]:starts[i + 1]]`."""

    values: NDArray[Any]
    starts: NDArray[np.int64]

    def __getitem__(self, row: int) -> NDArray[Any]:
        found: NDArray[Any] = self.values[self.starts[row] : self.starts[row + 1]]
        return found


class ProblemIndex:
    """Columns as SIGNATURES names them. `table`: which of the tables a row is of, and `position` where it stands there;
    `picture`: its pictures as numbers from 0, in the order of the rows."""

    def __init__(self, files: Sequence[Sequence[Path]]) -> None:
        """files: those of each table."""
        self._copies: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (goes with the process)
        whole, ends = self._read(files)
        order = np.lexsort((np.array(whole["problem_id"].to_pylist(), dtype=object), whole["table"].to_numpy()))
        whole = whole.take(pa.array(order)).combine_chunks()
        self.columns = whole
        self.table, self.position = whole["table"].to_numpy(), whole["position"].to_numpy()
        self.ids: list[str] = whole["problem_id"].to_pylist()
        self.gold, self.text = whole["gold"].to_numpy(), whole["text"].to_numpy()
        self.words, self.grams, self.minhash = (_ragged(whole, name) for name in ("words", "grams", "minhash"))
        self.side, self.aspect, self.detail = (_ragged(whole, name) for name in ("side", "aspect", "detail"))
        self.numbers = [tuple(numbers) for numbers in whole["numbers"].to_pylist()]
        self.hashes = _fixed(whole, "hash", pictures.HASH_BYTES)
        self.pixels = _fixed(whole, "pixels", 16)
        counts = np.diff(self.side.starts)
        self.picture = Ragged(np.arange(len(self.hashes)), self.side.starts)
        first = np.repeat(whole["first"].to_numpy() - self.side.starts[:-1], counts)
        self._copy_at = first + np.arange(len(self.hashes))
        self._ends = ends

    def _read(self, files: Sequence[Sequence[Path]]) -> tuple[pa.Table, NDArray[np.int64]]:
        """(the columns, with each row's table, position and first picture in the order of the files; where the grey
        copies end in the file that they are written to)."""
        found, lengths = [_NOTHING], [0]
        for number, own in enumerate(files):
            position = 0
            for path in own:
                batch = pq.read_table(path)
                counts = pc.list_value_length(batch["copy"]).to_numpy()
                placed = {
                    "table": np.full(len(batch), number),
                    "position": np.arange(position, position + len(batch)),
                    "first": len(lengths) - 1 + np.cumsum(counts) - counts,
                }
                for copy in pc.list_flatten(batch["copy"]):
                    lengths.append(self._copies.write(copy.as_buffer()))
                position += len(batch)
                kept = batch.select(_KEPT)
                for name, values in placed.items():
                    kept = kept.append_column(name, pa.array(values, pa.int64()))
                found.append(kept)
        self._copies.flush()
        return pa.concat_tables(found), np.cumsum(lengths)

    def __len__(self) -> int:
        return len(self.ids)

    def column(self, name: str) -> list[Any]:
        """A column's values, a row a problem."""
        return self.columns[name].to_pylist()

    def copy(self, picture: int) -> bytes:
        """The grey copy of a picture."""
        at = int(self._copy_at[picture])
        start, end = int(self._ends[at]), int(self._ends[at + 1])
        return os.pread(self._copies.fileno(), end - start, start)

    def close(self) -> None:
        """The file of grey copies goes."""
        self._copies.close()

    def check_ids(self, n_tables: int, names: Sequence[str]) -> None:
        """UserError where an id occurs twice in the first `n_tables` tables, whose names are given."""
        ids = (name for name, table in zip(self.ids, self.table, strict=True) if table < n_tables)
        advice = "name each source once, and no source beside one that is made from it"
        for _ in tables.unique(ids, "problem", names, advice):
            pass


def _ragged(table: pa.Table, name: str) -> Ragged:
    column = table[name].combine_chunks()
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    starts = column.offsets.to_numpy().astype(np.int64)
    return Ragged(column.values.to_numpy(zero_copy_only=False), starts)


def _fixed(table: pa.Table, name: str, width: int) -> NDArray[np.uint8]:
    """Binary values of one width as (values, width) bytes."""
    flat = pc.list_flatten(table[name])
    data = b"".join(value.as_py() for value in flat)
    return np.frombuffer(data, dtype=np.uint8).reshape(-1, width)
