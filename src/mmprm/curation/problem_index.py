"""All problems of a curation in columns. In: signature files. Out: `ProblemIndex`, columns of numpy arrays.

Rows are ordered by table, then by id, so that the order in the tables does not matter. The grey copies of pictures are
in an unnamed temporary file and are read where two pictures are compared; the rest is in memory, some 5 kB a problem.
"""

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

_COLUMNS = [name for name in SIGNATURES.names if name not in ("copy", "pending")]
_POSITION = [pa.field(name, pa.int64()) for name in ("table", "first")]
_EMPTY = pa.schema([*(SIGNATURES.field(name) for name in _COLUMNS), *_POSITION]).empty_table()


@dataclass(frozen=True)
class Ragged:
    """Lists, one for each row: that of row i is `values[starts[i]:starts[i + 1]]`."""

    values: NDArray[Any]
    starts: NDArray[np.int64]

    def __getitem__(self, row: int) -> NDArray[Any]:
        return np.asarray(self.values[self.starts[row] : self.starts[row + 1]])


class ProblemIndex:
    """Columns named as in SIGNATURES. `table`: the number of a row's table; `picture`: numbers of its pictures, counted
    from 0 in the order of the rows."""

    def __init__(self, files: Sequence[Sequence[Path]]) -> None:
        """Read the signature files of each table."""
        self._copies: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        table, self._ends = self._read(files)
        order = np.lexsort((np.array(table["problem_id"].to_pylist(), dtype=object), table["table"].to_numpy()))
        self.columns = table = table.take(pa.array(order)).combine_chunks()
        self.table = table["table"].to_numpy()
        self.ids: list[str] = table["problem_id"].to_pylist()
        self.gold, self.text = table["gold"].to_numpy(), table["text"].to_numpy()
        self.words, self.grams, self.minhash = (_ragged(table, name) for name in ("words", "grams", "minhash"))
        self.side, self.aspect, self.detail = (_ragged(table, name) for name in ("side", "aspect", "detail"))
        self.numbers = [tuple(numbers) for numbers in table["numbers"].to_pylist()]
        self.hashes = _fixed(table, "hash", pictures.HASH_BYTES)
        self.pixels = _fixed(table, "pixels", 16)
        counts = np.diff(self.side.starts)
        self.picture = Ragged(np.arange(len(self.hashes)), self.side.starts)
        first = np.repeat(table["first"].to_numpy() - self.side.starts[:-1], counts)
        self._copy_at = first + np.arange(len(self.hashes))

    def _read(self, files: Sequence[Sequence[Path]]) -> tuple[pa.Table, NDArray[np.int64]]:
        """Copy the grey copies to the temporary file; returns the other columns, and where each grey copy ends.

        Two columns are added: each row's table, and its first picture in the order of the files.
        """
        parts, lengths = [_EMPTY], [0]
        for number, paths in enumerate(files):
            for path in paths:
                batch = pq.read_table(path)
                counts = pc.list_value_length(batch["copy"]).to_numpy()
                position = (np.full(len(batch), number), len(lengths) - 1 + np.cumsum(counts) - counts)
                for copy in pc.list_flatten(batch["copy"]):
                    lengths.append(self._copies.write(copy.as_buffer()))
                part = batch.select(_COLUMNS)
                for field, values in zip(_POSITION, position, strict=True):
                    part = part.append_column(field.name, pa.array(values, pa.int64()))
                parts.append(part)
        self._copies.flush()
        return pa.concat_tables(parts), np.cumsum(lengths)

    def __len__(self) -> int:
        return len(self.ids)

    def column(self, name: str) -> list[Any]:
        """Return a column's values, one for each row."""
        return list(self.columns[name].to_pylist())

    def copy(self, picture: int) -> bytes:
        """Read the grey copy of a picture."""
        index = int(self._copy_at[picture])
        start, end = int(self._ends[index]), int(self._ends[index + 1])
        return os.pread(self._copies.fileno(), end - start, start)

    def close(self) -> None:
        """Delete the file of grey copies."""
        self._copies.close()

    def check_ids(self, n_tables: int, names: Sequence[str]) -> None:
        """Raise UserError where an id occurs twice in the first `n_tables` tables, whose names are given."""
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
    """Return binary values of one width as (values, width) bytes."""
    data = b"".join(value.as_py() for value in pc.list_flatten(table[name]))
    return np.frombuffer(data, dtype=np.uint8).reshape(-1, width)
