"""All problems of a curation, side by side. In: files of signatures. Out: a `Pool`: columns of numpy, a row a problem.

The rows stand in one order, whatever that of the tables' rows: by table, then by id. The small copies of pictures are
in a file without a name and are read where two pictures are compared; all else is in memory, some 2 kB a problem.
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
from mmprm.errors import UserError

_THUMB_BYTES = pictures.SIDE**2
_KEPT = [name for name in SIGNATURES.names if name not in ("thumb", "pending")]


@dataclass(frozen=True)
class Ragged:
    """A list a row: those of row i are `values[starts[i]:starts[i + 1]]`."""

    values: NDArray[Any]
    starts: NDArray[np.int64]

    def __getitem__(self, row: int) -> NDArray[Any]:
        found: NDArray[Any] = self.values[self.starts[row] : self.starts[row + 1]]
        return found


class Pool:
    """Columns as SIGNATURES names them. `table`: which of the tables a row is of, and `position` where it stands there;
    `picture`: its pictures as numbers from 0, in the order of the rows."""

    def __init__(self, files: Sequence[Sequence[Path]]) -> None:
        """files: those of each table. UserError where a problem id occurs twice in tables that are to be kept apart."""
        self._thumbs: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (goes with the process)
        found, starts, of_table, positions = [], [], [], []
        written = 0
        for number, own in enumerate(files):
            before = 0
            for path in own:
                batch = pq.read_table(path)
                positions.append(np.arange(before, before + len(batch)))
                before += len(batch)
                counts = pc.list_value_length(batch["thumb"]).to_numpy()
                starts.append(written + np.cumsum(counts) - counts)
                written += int(counts.sum())
                for thumb in pc.list_flatten(batch["thumb"]):
                    self._thumbs.write(thumb.as_buffer())
                found.append(batch.select(_KEPT))
                of_table.append(np.full(len(batch), number, dtype=np.int32))
        self._thumbs.flush()
        whole = pa.concat_tables(found) if found else SIGNATURES.empty_table().select(_KEPT)
        table, first, position = (
            np.concatenate(parts) if parts else np.zeros(0, np.int64) for parts in (of_table, starts, positions)
        )
        order = np.lexsort((np.array(whole["problem_id"].to_pylist(), dtype=object), table))
        whole = whole.take(pa.array(order)).combine_chunks()
        self.columns = whole
        self.table, self.position = table[order], position[order]
        self.ids: list[str] = whole["problem_id"].to_pylist()
        self.gold = whole["gold"].to_numpy()
        self.text = whole["text"].to_numpy()
        self.words, self.grams, self.minhash = (_ragged(whole, name) for name in ("words", "grams", "minhash"))
        self.side, self.aspect, self.detail = (_ragged(whole, name) for name in ("side", "aspect", "detail"))
        self.numbers = [tuple(numbers) for numbers in whole["numbers"].to_pylist()]
        self.hashes = _fixed(whole, "hash", pictures.HASH_BYTES)
        self.pixels = _fixed(whole, "pixels", 16)
        counts = np.diff(self.side.starts)
        self.picture = Ragged(np.arange(len(self.hashes)), self.side.starts)
        self._thumb_at = (
            np.repeat(first[order], counts) + np.arange(len(self.hashes)) - np.repeat(self.side.starts[:-1], counts)
        )

    def __len__(self) -> int:
        return len(self.ids)

    def column(self, name: str) -> list[Any]:
        """A column's values, a row a problem."""
        return self.columns[name].to_pylist()

    def thumb(self, picture: int) -> bytes:
        """The small copy of a picture."""
        return os.pread(self._thumbs.fileno(), _THUMB_BYTES, int(self._thumb_at[picture]) * _THUMB_BYTES)

    def close(self) -> None:
        """The file of small copies goes."""
        self._thumbs.close()

    def check_ids(self, n_tables: int, names: Sequence[str]) -> None:
        """UserError where an id occurs twice in the first `n_tables` tables, whose names are given."""
        seen: set[str] = set()
        for name, table in zip(self.ids, self.table, strict=True):
            if table < n_tables and name in seen:
                raise UserError(
                    f"problem {name!r} occurs twice in the sources {', '.join(names)}; name each source once, and no "
                    "source beside one that is made from it"
                )
            seen.add(name)


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
