"""Tables are whole or absent, and a table that is not what it should be is named."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, read_problems, write_problems
from mmprm.runtime.errors import UserError

REFUSED_ROW = {"source": "s", "row": 1, "problem_id": None, "reason": "corrupt_image", "detail": "…"}


def test_a_failure_in_the_middle_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    """Defect 10: writes were not atomic."""
    path = tmp_path / "a.txt"
    tables.write_text(path, "old")
    with pytest.raises(RuntimeError), tables.replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_rows_that_arrow_cannot_write_leave_the_old_table(tmp_path: Path) -> None:
    path = tmp_path / "refused.parquet"
    tables.write(path, [REFUSED_ROW], schemas.REFUSED)
    with pytest.raises(pa.ArrowException):
        tables.write(path, [REFUSED_ROW, REFUSED_ROW | {"row": "two"}], schemas.REFUSED)
    assert tables.read_rows(path, schemas.REFUSED) == [REFUSED_ROW]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("row", [REFUSED_ROW | {"resaon": "x"}, {"source": "s"}])
def test_a_row_with_other_columns_is_not_written_as_nulls(tmp_path: Path, row: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="columns"):
        tables.write(tmp_path / "refused.parquet", [row], schemas.REFUSED)
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_can_be_read_by_those_who_may_read_others(tmp_path: Path) -> None:
    tables.write_text(tmp_path / "ours", "x")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_missing_table_names_the_target_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.parquet.*snakemake"):
        tables.read(tmp_path / "absent.parquet", schemas.REFUSED)


def test_a_torn_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "torn.parquet"
    tables.write(path, [REFUSED_ROW], schemas.REFUSED)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"torn\.parquet.*not a readable parquet"):
        tables.read(path, schemas.REFUSED)


@pytest.mark.parametrize(
    ("columns", "says"),
    [({"source": ["s"]}, "reason"), (REFUSED_ROW | {"row": "one"}, "another type")],
)
def test_a_table_of_another_schema_is_named(tmp_path: Path, columns: dict[str, object], says: str) -> None:
    path = tmp_path / "other.parquet"
    pq.write_table(
        pa.table({name: pa.array(value if isinstance(value, list) else [value]) for name, value in columns.items()}),
        path,
    )
    with pytest.raises(UserError, match=rf"other\.parquet.*{says}"):
        tables.read(path, schemas.REFUSED)


def test_problems_come_back_as_they_were_and_in_the_order_of_their_ids(tmp_path: Path) -> None:
    full = Problem("a/2", "a", "q", "B", (b"\x89PNG", b"\xff\xd8"), ("x", "y"), "choice", "<step>…", "bars")
    bare = Problem("a/1", "a", "q", "1")
    write_problems(tmp_path / "p.parquet", [full, bare])
    assert read_problems(tmp_path / "p.parquet") == [bare, full]


def test_the_same_problems_give_the_same_bytes(tmp_path: Path) -> None:
    problems = [Problem(f"a/{i}", "a", "q", str(i), (bytes(100),)) for i in range(300)]
    write_problems(tmp_path / "one.parquet", problems)
    write_problems(tmp_path / "two.parquet", reversed(problems))
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


def test_tables_with_images_are_cut_into_small_row_groups(tmp_path: Path) -> None:
    write_problems(tmp_path / "p.parquet", [Problem(f"a/{i:03}", "a", "q", "1", (b"x",)) for i in range(600)])
    assert pq.ParquetFile(tmp_path / "p.parquet").num_row_groups == 3
    assert len(read_problems(tmp_path / "p.parquet")) == 600


def test_an_empty_table_keeps_its_schema(tmp_path: Path) -> None:
    tables.write(tmp_path / "e.parquet", [], schemas.PATHS)
    assert tables.read(tmp_path / "e.parquet", schemas.PATHS).schema.equals(schemas.PATHS)


def test_json_with_nan_is_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    tables.write_json(path, {"é": 1})
    with pytest.raises(ValueError, match="JSON"):
        tables.write_json(path, {"loss": float("nan")})
    assert json.loads(path.read_text()) == {"é": 1}


@pytest.mark.parametrize("change", [{"question": "other"}, {"answer": "2"}, {"images": (b"y",)}, {"choices": ("1",)}])
def test_a_fingerprint_changes_with_what_the_model_sees_and_not_with_the_id(change: dict[str, object]) -> None:
    base = {"question": "q", "answer": "1", "images": (b"x",)}
    one = Problem("a/1", "a", **base)
    assert one.fingerprint == Problem("b/7", "b", **base).fingerprint
    assert one.fingerprint != Problem("a/1", "a", **(base | change)).fingerprint


def test_of_no_problems_there_are_no_rows(tmp_path: Path) -> None:
    """A shard may have none, where there are more shards than problems."""
    path = tmp_path / "problems.parquet"
    write_problems(path, [Problem("a", "s", "1 + 1?", "2"), Problem("b", "s", "1 + 2?", "3")])
    assert tables.read(path, schemas.PROBLEMS, []).num_rows == 0
    assert tables.read(path, schemas.PROBLEMS, ["b", "c"])["problem_id"].to_pylist() == ["b"]
    assert read_problems(path, only=set()) == []


def test_rows_that_come_one_by_one_give_the_same_table_and_none_where_the_block_fails(tmp_path: Path) -> None:
    rows = [
        {"source": "a", "row": number, "problem_id": None, "reason": "x", "detail": str(number)} for number in range(7)
    ]
    with tables.appending(tmp_path / "one.parquet", schemas.REFUSED, group=3) as add:
        for row in rows:
            add(row)
        assert not (tmp_path / "one.parquet").exists()
    assert tables.read_rows(tmp_path / "one.parquet", schemas.REFUSED) == rows
    with pytest.raises(RuntimeError), tables.appending(tmp_path / "two.parquet", schemas.REFUSED) as add:
        add(rows[0])
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["one.parquet"]
