"""Parts into tables. In: the part files of a source. Out: its problems by id, its refused rows by row, and counts.

What is in memory of all problems is their ids, hashes of their pictures and where they stand.
"""

from __future__ import annotations

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
from mmprm.problems.parts import IntakePart, Problems, index_file

_LIGHT = ("row", "problem_id", "own_group", "pictures", "offset", "length", "image_bytes", "part")


class Assembly:
    """The parts of a source, put together. Of rows with one id the first that can be taken is."""

    def __init__(self, folder: Path, source: str, parts: Sequence[IntakePart]) -> None:
        self._folder, self._source, self._parts = folder, source, parts
        self._found = self._light()
        order, again = _by_id(self._found["problem_id"], self._found["row"])
        rows = self._found["row"].to_numpy()
        firsts = np.maximum.accumulate(np.where(again, 0, np.arange(len(order))))  # of each one's run of equal ids
        by_row = np.argsort(rows[order[again]])
        self._twice = rows[order[again]][by_row]  # rows, ascending
        self._before = rows[order[firsts[again]]][by_row]  # the row of the same id that was taken
        self._order = order  # places in _found, by id
        if len(self._twice):
            is_taken = np.ones(len(order), dtype=bool)
            is_taken[order[again]] = False
            for name in _LIGHT:  # one by one, so that one alone is there twice
                self._found[name] = self._found[name].filter(pa.array(is_taken))
            self._order = (np.cumsum(is_taken) - 1)[order[~again]]

    def _light(self) -> dict[str, pa.ChunkedArray]:
        """What is held of all rows that passed, in their order, and the part of each, by column."""
        types = {name: schemas.INTAKE_PART.field("row" if name == "part" else name).type for name in _LIGHT}
        chunks: dict[str, list[pa.Array]] = {name: [] for name in _LIGHT}
        for part in self._parts:
            table = pq.read_table(index_file(self._folder, part.first), schema=schemas.INTAKE_PART)
            table = table.filter(table["reason"].is_null())
            table = table.append_column("part", pa.array(np.full(len(table), part.first)))
            for name in _LIGHT:
                chunks[name] += table[name].chunks
        joined = {name: pa.chunked_array(chunks.pop(name), types[name]).combine_chunks() for name in _LIGHT}
        # Only texts of more than 2 GB stay in several chunks.
        whole = {name: [column] for name, column in joined.items() if isinstance(column, pa.Array)}
        return joined | {name: pa.chunked_array(column) for name, column in whole.items()}

    @property
    def taken(self) -> int:
        """How many problems there are."""
        return len(self._order)

    @property
    def reasons(self) -> Counter[str]:
        """How many rows were refused, by reason."""
        counts = Counter({"duplicate_id": len(self._twice)} if len(self._twice) else {})
        for part in self._parts:
            counts.update(part.refused)
        return counts

    @property
    def pictures(self) -> dict[str, int]:
        """How many of the problems have images, how many images they have, and the bytes of these."""
        each = pc.list_value_length(self._found["pictures"])
        return {
            "with_images": int(pc.sum(pc.greater(each, 0)).as_py() or 0),
            "images": int(pc.sum(each).as_py() or 0),
            "image_bytes": int(pc.sum(self._found["image_bytes"]).as_py() or 0),
        }

    def problems(self) -> Iterator[dict[str, Any]]:
        """Rows of schemas.PROBLEMS, by id."""
        groups = Groups(self._found["problem_id"], self._found["own_group"], self._found["pictures"])
        parts, offsets, lengths = (self._found[name].to_numpy() for name in ("part", "offset", "length"))
        with Problems(self._folder) as problems:
            for place in self._order:
                row = problems.row(int(parts[place]), int(offsets[place]), int(lengths[place]))
                yield row | {"group": groups[int(place)]}

    def refused(self) -> Iterator[dict[str, Any]]:
        """Rows of schemas.REFUSED, as they stand in the source."""
        for part in self._parts:
            twice = self._twice_in(part)
            if not part.refused and not twice:
                continue
            table = pq.read_table(index_file(self._folder, part.first), schema=schemas.INTAKE_PART)
            for row in table.select(["row", "problem_id", "reason", "detail"]).to_pylist():
                if row["row"] in twice:
                    row["reason"] = "duplicate_id"
                    row["detail"] = f"row {twice[row['row']]} has the same id, and was taken"
                if row["reason"] is not None:
                    yield {"source": self._source, **row}

    def _twice_in(self, part: IntakePart) -> dict[int, int]:
        """The rows of a part whose ids were taken before -> the rows that were."""
        begin, end = np.searchsorted(self._twice, [part.first, part.first + part.rows])
        return dict(zip(self._twice[begin:end].tolist(), self._before[begin:end].tolist(), strict=True))


def _by_id(ids: pa.ChunkedArray, rows: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """The order by id and row, and for each place of it: does the one before have the same id?"""
    keys = pa.table({"id": ids, "row": rows})
    order = pc.sort_indices(keys, [("id", "ascending"), ("row", "ascending")]).to_numpy()
    ordered = ids.take(order)
    again = np.zeros(len(order), dtype=bool)
    again[1:] = pc.equal(ordered[1:], ordered[:-1]).to_numpy()
    return order, again
