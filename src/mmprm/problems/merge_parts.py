"""Merge parts into tables. In: the part files of a source. Out: its problems by id, its refused rows, and counts.

In memory are, for all problems, ids, hashes of pictures and positions in the part files.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmprm.data import schemas
from mmprm.problems.groups import Groups
from mmprm.problems.parts import IntakePart, PartReader, index_file

_COLUMNS = ("row", "problem_id", "own_group", "pictures", "offset", "length", "image_bytes", "part")


class MergedParts:
    """The parts of a source, merged. Of rows with the same id the first acceptable one is taken."""

    def __init__(self, folder: Path, source: str, parts: Sequence[IntakePart]) -> None:
        self._folder, self._source, self._parts = folder, source, parts
        self._columns = self._read_columns()
        ids, rows = self._columns["problem_id"], self._columns["row"].to_numpy()
        by_id = [("problem_id", "ascending"), ("row", "ascending")]
        order = pc.sort_indices(pa.table({"problem_id": ids, "row": self._columns["row"]}), by_id).to_numpy()
        ordered = ids.take(order)
        again = np.zeros(len(order), dtype=bool)  # has the one before in this order the same id?
        again[1:] = pc.equal(ordered[1:], ordered[:-1]).to_numpy()
        firsts = np.maximum.accumulate(np.where(again, 0, np.arange(len(order))))  # start of each run of equal ids
        by_row = np.argsort(rows[order[again]])
        self._repeated = rows[order[again]][by_row]  # rows whose id an earlier row has, ascending
        self._before = rows[order[firsts[again]]][by_row]  # the row that was taken for each
        self._order = order  # indices in the columns, by id
        if len(self._repeated):
            is_taken = np.ones(len(order), dtype=bool)
            is_taken[order[again]] = False
            for name in _COLUMNS:  # one at a time, so that only one is copied
                self._columns[name] = self._columns[name].filter(pa.array(is_taken))
            self._order = (np.cumsum(is_taken) - 1)[order[~again]]
        self.taken = len(self._order)  # the number of problems

    def _read_columns(self) -> dict[str, pa.ChunkedArray]:
        """Read the columns of all accepted rows, in their order, with the part of each."""
        types = {name: schemas.INTAKE_PART.field("row" if name == "part" else name).type for name in _COLUMNS}
        chunks: dict[str, list[pa.Array]] = {name: [] for name in _COLUMNS}
        for part in self._parts:
            table = pq.read_table(index_file(self._folder, part.first), schema=schemas.INTAKE_PART)
            table = table.filter(table["reason"].is_null())
            table = table.append_column("part", pa.array(np.full(len(table), part.first)))
            for name in _COLUMNS:
                chunks[name] += table[name].chunks
        joined = {name: pa.chunked_array(chunks.pop(name), types[name]).combine_chunks() for name in _COLUMNS}
        # combine_chunks gives an array, or a chunked array where texts have more than 2 GB.
        return {name: pa.chunked_array([c]) if isinstance(c, pa.Array) else c for name, c in joined.items()}

    @property
    def reasons(self) -> Counter[str]:
        """The number of refused rows, by reason."""
        counts = Counter({"duplicate_id": len(self._repeated)} if len(self._repeated) else {})
        for part in self._parts:
            counts.update(part.refused)
        return counts

    @property
    def pictures(self) -> dict[str, int]:
        """The numbers of problems with images, of images, and of their bytes."""
        n_images = pc.list_value_length(self._columns["pictures"])
        return {
            "with_images": int(pc.sum(pc.greater(n_images, 0)).as_py() or 0),
            "images": int(pc.sum(n_images).as_py() or 0),
            "image_bytes": int(pc.sum(self._columns["image_bytes"]).as_py() or 0),
        }

    def problems(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of schemas.PROBLEMS, by id."""
        groups = Groups(self._columns["problem_id"], self._columns["own_group"], self._columns["pictures"])
        parts, offsets, lengths = (self._columns[name].to_numpy() for name in ("part", "offset", "length"))
        with PartReader(self._folder) as reader:
            for index in self._order.tolist():
                row = reader.row(int(parts[index]), int(offsets[index]), int(lengths[index]))
                yield row | {"group": groups[index]}

    def refused(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of schemas.REFUSED, in the order of the source."""
        for part in self._parts:
            begin, end = np.searchsorted(self._repeated, [part.first, part.first + part.rows])
            repeated = dict(zip(self._repeated[begin:end].tolist(), self._before[begin:end].tolist(), strict=True))
            if not part.refused and not repeated:
                continue
            table = pq.read_table(index_file(self._folder, part.first), schema=schemas.INTAKE_PART)
            for row in table.select(["row", "problem_id", "reason", "detail"]).to_pylist():
                if row["row"] in repeated:
                    row["reason"] = "duplicate_id"
                    row["detail"] += f"row {repeated[row['row']]} (from 0) has the same id, and was taken"
                if row["reason"] is not None:
                    yield {"source": self._source, **row}
