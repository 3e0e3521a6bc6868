"""A fuzz of forms: what is written into a file of any form comes out of intake as it was, or is refused."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from taking import take_in

from mmprm.data import schemas, tables
from mmprm.runtime.errors import UserError

Rows = list[dict[str, Any]]


def json_text(rows: Rows, **options: Any) -> str:
    return json.dumps(rows, ensure_ascii=False, **options)


def lines(rows: Rows) -> bytes:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


def fields(rows: Rows, by: str = ",", end: str = "\n") -> bytes:
    file = io.StringIO(newline="")
    # A lone \r ends a line of CSV, and Python's writer quotes it only where the line's end has one.
    quoting = csv.QUOTE_MINIMAL if "\r" in end else csv.QUOTE_ALL
    writer = csv.writer(file, delimiter=by, lineterminator=end, quoting=quoting)
    writer.writerow(rows[0])
    writer.writerows(row.values() for row in rows)
    return file.getvalue().encode()


def columns(rows: Rows, **kinds: pa.DataType) -> bytes:
    out = io.BytesIO()
    names = {name: [row[name] for row in rows] for name in rows[0]}
    pq.write_table(pa.table({name: pa.array(found, kinds.get(name)) for name, found in names.items()}), out)
    return out.getvalue()


FORMS: dict[str, Callable[[Rows], bytes]] = {
    "array.json": lambda rows: json_text(rows).encode(),
    "indented.json": lambda rows: json_text(rows, indent=2).encode(),
    "data.json": lambda rows: json.dumps({"data": rows}).encode(),
    "by_id.json": lambda rows: json.dumps({f"key {row['id']}": row for row in rows}).encode(),
    "with_bom.json": lambda rows: b"\xef\xbb\xbf" + json_text(rows).encode(),
    "a.jsonl": lines,
    "crlf.jsonl": lambda rows: lines(rows).replace(b"\n", b"\r\n") + b"\r\n",
    "a.jsonl.gz": lambda rows: gzip.compress(lines(rows)),
    "a.jsonl.zst": lambda rows: bytes(pa.compress(lines(rows), "zstd", asbytes=True)),
    "a.csv": fields,
    "crlf.csv": lambda rows: fields(rows, end="\r\n"),
    "a.csv.gz": lambda rows: gzip.compress(fields(rows)),
    "a.tsv": lambda rows: fields(rows, by="\t"),
    "a.parquet": columns,
    "large.parquet": lambda rows: columns(rows, question=pa.large_string()),
    "dictionary.parquet": lambda rows: columns(rows, question=pa.dictionary(pa.int32(), pa.string())),
}

# Anything that a text may have, but a place of an image, of which a test of its own is (test_places.py).
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="<"), min_size=1, max_size=30)
ANSWERS: list[st.SearchStrategy[Any]] = [
    TEXTS,
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals("-9999", "9999", places=3),
]


def means(text: str, value: Any) -> bool:
    """Tell whether a gold answer says what was written; a number may stand in another form."""
    if isinstance(value, str):
        return text == value.strip()
    return Decimal(text) == Decimal(value) if isinstance(value, int | Decimal) else float(text) == value


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
@pytest.mark.parametrize("form", FORMS)
def test_a_row_comes_out_as_it_was_written_or_is_refused(tmp_path: Path, form: str, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(ANSWERS[:3] if "json" in form else ANSWERS), "the answers' kind")
    found = data.draw(st.lists(st.tuples(TEXTS, kind), min_size=1, max_size=5), "questions and answers")
    as_text = data.draw(st.booleans(), "ids as texts")
    rows = [
        {"id": f"a{at}" if as_text else at, "question": question, "answer": answer}
        for at, (question, answer) in enumerate(found)
    ]
    (tmp_path / form).write_bytes(FORMS[form](rows))
    source = {"kind": "table", "path": tmp_path / form, "columns": {"image": ""}}
    try:
        taken, _ = take_in(tmp_path, source, {"max_refused_share": 1.0})
        refused = len(tables.read_rows(tmp_path / "out/real.refused.parquet", schemas.REFUSED))
    except UserError as error:
        assert f"of {len(rows)} rows are refused" in str(error)
        return
    finally:
        (tmp_path / form).unlink()
    assert len(taken) + refused == len(rows)
    by_id = {f"real/{row['id']}": row for row in rows}
    for problem in taken:
        row = by_id[problem.problem_id]
        assert problem.question.strip() == row["question"].strip()
        assert means(problem.answer, row["answer"])
