"""Rows of every form of file: streamed, from any row on, and torn ones told apart from the others."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmprm.problems import json_rows, rows
from mmprm.runtime.errors import UserError

COLUMNS = {"id": "id"}
HINT = "a hint"


def written(folder: Path, form: str, part: int, values: list[str]) -> Path:
    """A file of some rows."""
    path = folder / f"{part}.{form}"
    found = [{"id": value, "n": str(part)} for value in values]
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(found), path, row_group_size=3)
    elif form == "json":
        path.write_text(json.dumps(found))
    elif form == "jsonl":
        path.write_text("\n\n".join(json.dumps(row) for row in found))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["id", "n"])
            writer.writeheader()
            writer.writerows(found)
    return path


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    form=st.sampled_from(["parquet", "json", "jsonl", "csv"]),
    values=st.lists(
        st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00\r\ufeff"), min_size=1), min_size=1),
        min_size=1,
        max_size=3,
    ),
    start=st.integers(0, 40),
)
def test_rows_from_any_one_on_are_the_rest_of_all(
    tmp_path: Path, form: str, values: list[list[str]], start: int
) -> None:
    files = [written(tmp_path, form, part, found) for part, found in enumerate(values)]
    whole = list(rows.read(files, COLUMNS, HINT))
    assert [row["id"] for row in whole] == [value for found in values for value in found]
    assert list(rows.read(files, COLUMNS, HINT, start)) == whole[start:]
    assert rows.count(files) == (len(whole) if form == "parquet" else None)


def test_a_torn_line_is_a_row_of_its_own_and_an_overlong_one_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_rows, "LINE", 40)
    long = json.dumps({"id": "x" * 200})
    exact = json.dumps({"id": "x" * 29})  # with its end of line just what is allowed
    assert len(exact) == 39
    lines = ['\ufeff{"id": 1}', "{torn", long, "", exact, "[1]", '{"id": NaN}', long]
    (tmp_path / "a.jsonl").write_text("\r\n".join(lines[:2]) + "\n" + "\n".join(lines[2:]))
    found: list[Any] = list(rows.read([tmp_path / "a.jsonl"], COLUMNS, HINT))
    kinds = [row if isinstance(row, dict) else str(row)[:24] for row in found]
    too_long = "the line has more than 4"
    assert kinds == [
        {"id": 1},
        "the line is not JSON: Ex",
        too_long,
        {"id": "x" * 29},
        "a row is an object, this",
        {"id": None},
        too_long,
    ]


def test_a_line_of_csv_with_too_many_fields_is_one_bad_row_and_an_empty_field_is_none(tmp_path: Path) -> None:
    text = '\ufeffid,question\n007,"a\nb"\n2,x,y\n3,\n4\n\n5,caf\xe9\n'
    (tmp_path / "a.csv").write_bytes(text.encode("utf-8").replace("é".encode(), b"\xe9"))
    found = list(rows.read([tmp_path / "a.csv"], COLUMNS, HINT))
    assert found[0] == {"id": "007", "question": "a\nb"}
    assert found[1] == "the line has more fields than the header (3, not 2)"
    assert found[2:4] == [{"id": "3", "question": None}, "the line has fewer fields than the header (1, not 2)"]
    assert found[4] == {"id": "5", "question": "caf\udce9"}  # which intake refuses as bad_text


def test_columns_of_text_files_are_those_of_the_first_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_HEAD", 2)
    (tmp_path / "a.jsonl").write_text('{"x": 1}\n{"id": 2}\n{"late": 3}\n')
    assert len(list(rows.read([tmp_path / "a.jsonl"], {"id": "id", "x": "x"}, HINT))) == 3
    with pytest.raises(UserError, match=r"no column 'late' for 'image'; the columns are \['x', 'id'\]: a hint"):
        list(rows.read([tmp_path / "a.jsonl"], {"image": "late"}, HINT))
