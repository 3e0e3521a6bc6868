"""Parts into tables. In: the part files of a source. Out: its problems by id, its refused rows by row, and counts.

What is in memory of all problems is their ids, hashes of their pictures and where they stand; about 100 bytes each.
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

from mmprm import tables
from mmprm.problems.groups import Groups
from mmprm.problems.parts import Part, Problems, index_file

_LIGHT = ("row", "problem_id", "own_group", "pictures", "offset", "length", "image_bytes")


class Assembly:
    """The parts of a source, put together. Of rows with one id the first that can be taken is."""

    def __init__(self, folder: Path, source: str, parts: Sequence[Part]) -> None:
        self._folder, self._source, self._parts = folder, source, parts
        found = self._light()
        order = pc.sort_indices(found, [("problem_id", "ascending"), ("row", "ascending")]).to_numpy()
        ids, rows = found["problem_id"].take(order), found["row"].to_numpy()
        again = np.zeros(len(order), dtype=bool)
        again[1:] = pc.equal(ids[1:], ids[:-1]).to_numpy()
        firsts = np.maximum.accumulate(np.where(again, 0, np.arange(len(order))))  # of each one's run of equal ids
        by_row = np.argsort(rows[order[again]])
        self._twice = rows[order[again]][by_row]  # rows, ascending
        self._before = rows[order[firsts[again]]][by_row]  # the row of the same id that was taken
        is_taken = np.ones(len(order), dtype=bool)
        is_taken[order[again]] = False
        self._found = found.filter(pa.array(is_taken))
        self._order = (np.cumsum(is_taken) - 1)[order[~again]]  # places in _found, by id

    def _light(self) -> pa.Table:
        """What is held of all rows that passed, in their order, with the part of each."""
        schema = pa.schema([tables.INTAKE_PART.field(name) for name in _LIGHT] + [("part", pa.int64())])
        found = [schema.empty_table()]
        for part in self._parts:
            table = pq.read_table(index_file(self._folder, part.first), schema=tables.INTAKE_PART)
            table = table.filter(table["reason"].is_null()).select(_LIGHT)
            found.append(table.append_column("part", pa.array(np.full(len(table), part.first))).cast(schema))
        return pa.concat_tables(found).combine_chunks()

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
        """Rows of tables.PROBLEMS, by id."""
        groups = Groups(self._found["problem_id"], self._found["own_group"], self._found["pictures"])
        parts, offsets, lengths = (self._found[name].to_numpy() for name in ("part", "offset", "length"))
        with Problems(self._folder) as problems:
            for place in self._order:
                row = problems.row(int(parts[place]), int(offsets[place]), int(lengths[place]))
                yield row | {"group": groups[int(place)]}

    def refused(self) -> Iterator[dict[str, Any]]:
        """Rows of tables.REFUSED, as they stand in the source."""
        for part in self._parts:
            twice = self._twice_in(part)
            if not part.refused and not twice:
                continue
            table = pq.read_table(index_file(self._folder, part.first), schema=tables.INTAKE_PART)
            for row in table.select(["row", "problem_id", "reason", "detail"]).to_pylist():
                if row["row"] in twice:
                    row["reason"] = "duplicate_id"
                    row["detail"] = f"row {twice[row['row']]} has the same id, and was taken"
                if row["reason"] is not None:
                    yield {"source": self._source, **row}

    def _twice_in(self, part: Part) -> dict[int, int]:
        """The rows of a part whose ids were taken before -> the rows that were."""
        begin, end = np.searchsorted(self._twice, [part.first, part.first + part.rows])
        return dict(zip(self._twice[begin:end].tolist(), self._before[begin:end].tolist(), strict=True))
