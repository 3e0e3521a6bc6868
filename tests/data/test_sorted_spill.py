"""Rows go into a spool in any order and come out by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmprm.data import schemas
from mmprm.data.sorted_spill import SortedSpill


def row(name: str, number: int) -> dict[str, object]:
    return {"source": name, "row": number, "problem_id": None, "reason": "blank", "detail": "…"}


def test_rows_come_out_by_name_and_in_their_own_order(tmp_path: Path) -> None:
    with SortedSpill(tmp_path, schemas.REFUSED) as spool:
        spool.add("b", [row("b", 2), row("b", 1)])
        spool.add("c", [])
        spool.add("a", [row("a", 3)])
        assert list(spool.rows()) == [row("a", 3), row("b", 2), row("b", 1)]


def test_rows_of_a_name_may_come_in_several_parts(tmp_path: Path) -> None:
    with SortedSpill(tmp_path, schemas.REFUSED) as spool:
        spool.add("b", [row("b", 1), row("b", 2)])
        spool.add("a", [row("a", 4)])
        spool.add("b", [row("b", 3)])
        assert list(spool.rows()) == [row("a", 4), row("b", 1), row("b", 2), row("b", 3)]


def test_an_empty_spool_has_no_rows(tmp_path: Path) -> None:
    with SortedSpill(tmp_path, schemas.REFUSED) as spool:
        assert list(spool.rows()) == []


def test_nothing_is_left_in_the_folder_even_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), SortedSpill(tmp_path, schemas.REFUSED) as spool:
        spool.add("a", [row("a", 1)])
        assert list(tmp_path.iterdir()) == []  # nor while it is open: a kill leaves nothing
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_row_with_other_columns_is_refused(tmp_path: Path) -> None:
    with SortedSpill(tmp_path, schemas.REFUSED) as spool, pytest.raises(ValueError, match="resaon"):
        spool.add("a", [row("a", 1) | {"resaon": "x"}])
