"""Rows of problem tables by their places, no table in memory. In: places. Out: problems, in the order asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

import pyarrow as pa

from mmprm.curation.signatures import opened
from mmprm.data import schemas
from mmprm.data.problem import Problem, of_row


def problems_at(paths: Sequence[Path], places: Sequence[tuple[int, int]]) -> Iterator[Problem]:
    """The problems at (table, row). Fast where the rows of each table are asked for in their order, as they are where
    tables are sorted by id: then each row group is read once."""
    files = [opened(path) for path in paths]
    starts = [_starts([file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]) for file in files]

    @lru_cache(maxsize=len(paths) + 2)
    def group_of(table: int, group: int) -> pa.Table:
        return files[table].read_row_group(group, columns=schemas.PROBLEMS.names)

    for table, row in places:
        group = bisect_right(starts[table], row) - 1
        (found,) = group_of(table, group).slice(row - starts[table][group], 1).to_pylist()
        yield of_row(found)


def _starts(lengths: Sequence[int]) -> list[int]:
    return [0, *accumulate(lengths)][:-1]
