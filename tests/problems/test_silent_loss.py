"""No form of a table loses or changes a row in silence: each row is read as it is meant, or refused where it stands."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from table_pictures import picture
from taking import take_in

from mmprm.data import schemas, tables
from mmprm.data.problem import Problem
from mmprm.problems import csv_rows, rows
from mmprm.problems.refusals import Row
from mmprm.runtime.errors import UserError

HEADER = "id,question,answer"


def taken(folder: Path, file: Path | str, **source: Any) -> tuple[dict[str, Problem], list[dict[str, Any]]]:
    """The problems by id and the refused rows of a table without pictures."""
    given_source = {"kind": "table", "path": folder / file, "columns": {"image": ""}} | source
    problems, _ = take_in(folder, given_source, {"max_refused_share": 1.0})
    refused = tables.read_rows(folder / "out/real.refused.parquet", schemas.REFUSED)
    return {problem.problem_id.removeprefix("real/"): problem for problem in problems}, refused


def plain(number: int) -> str:
    return f"{number},How long is side {number}?,{number % 7}"


# Quotes that are opened by mistake. Lines of the file, from 0 = the header.


def test_a_quote_without_an_end_costs_its_own_line_and_no_other(tmp_path: Path) -> None:
    lines = [HEADER, *(plain(number) for number in range(200))]
    lines[20] = '19,"How long is side 19?,5'
    lines[140] = '139,"How long is side 139?,6'
    (tmp_path / "own.csv").write_text("\n".join(lines) + "\n")
    problems, refused = taken(tmp_path, "own.csv")
    assert len(problems) == 198 and problems["77"].question == "How long is side 77?"
    assert [row["detail"].partition(":")[0] for row in refused] == ["own.csv, line 21", "own.csv, line 141"]
    assert "quote" in refused[0]["detail"]


def test_quotes_that_close_over_whole_rows_are_seen_by_the_rows_within(tmp_path: Path) -> None:
    lines = [HEADER, *(plain(number) for number in range(30))]
    lines[5] = '4,"How long is side 4?,1'
    lines[12] = '11,How long is side 11?",2'  # csv reads one row of three fields from both
    text = "\n".join(lines) + "\n"
    assert len(list(csv.reader(io.StringIO(text)))) == 24
    (tmp_path / "own.csv").write_text(text)
    problems, refused = taken(tmp_path, "own.csv")
    assert len(problems) + len(refused) == 30 and "line 6" in refused[0]["detail"]
    assert {"5", "6", "7", "8", "9", "10"} <= problems.keys()


def test_texts_of_several_lines_with_commas_and_quotes_are_read(tmp_path: Path) -> None:
    questions = ["Given:\na, b, c\nWhat is it?", 'He said "two".\n\nHow many?', "x,y\n1,2\n3,4\nWhat is y for 3?"]
    with (tmp_path / "own.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([HEADER.split(","), *([str(at), text, "1"] for at, text in enumerate(questions))])
    problems, refused = taken(tmp_path, "own.csv")
    assert [problem.question for problem in problems.values()] == questions and not refused


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00\ufeff\r")), min_size=1, max_size=6),
    st.lists(st.integers(0, 400), max_size=2),
)
def test_every_line_of_csv_is_in_a_row_or_refused(tmp_path: Path, texts: list[str], strays: list[int]) -> None:
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["id", "question", "answer"])
    writer.writerows([str(at), text, "1"] for at, text in enumerate(texts))
    broken = file.getvalue()
    for at in strays:
        place = len(HEADER) + 1 + at % max(1, len(broken) - len(HEADER))
        broken = f'{broken[:place]}"{broken[place:]}'
    found = list(csv_rows.rows(io.StringIO(broken, newline=""), "own.csv", ","))[1:]
    if not strays:
        assert [row["question"] or "" for row in found] == texts
    firsts = [int(row.place.rpartition(" ")[2]) for row in found]
    assert firsts == sorted(set(firsts))
    ends = [*firsts[1:], broken.count("\n") + 2]
    for row, first, end in zip(found, firsts, ends, strict=True):
        lines = broken.split("\n")[first - 1 : end - 1]
        if not isinstance(row, Row):  # refused: its own line, and blank ones
            assert not any(line.strip() for line in lines[1:])
        else:
            assert all(line in "\n".join(map(str, row.values())) for line in lines[1:-1] if '"' not in line)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from(["a.json", "indented.json", "a.jsonl", "data.json"]),
    st.lists(
        st.tuples(st.integers(0, 2000), st.sampled_from(['"', "{", "}", "[", "]", ",", "\\", "\n", "null"])), max_size=3
    ),
    st.integers(-1, 2000),
)
def test_every_row_of_json_is_taken_as_it_was_written_or_counted_as_refused(
    tmp_path: Path, name: str, strays: list[tuple[int, str]], cut: int
) -> None:
    """Characters come in by mistake, and one is lost; the file may be refused. A mistake hides one row at most."""
    written = [{"id": str(at), "question": f'Given a, b: {{{at}}}?\n"Why"', "answer": str(at % 7)} for at in range(30)]
    texts = {
        "a.json": json.dumps(written),
        "indented.json": json.dumps(written, indent=1),
        "a.jsonl": "\n".join(map(json.dumps, written)),
        "data.json": json.dumps({"data": written}),
    }
    text = texts[name]
    for at, stray in strays:
        text = f"{text[: at % len(text)]}{stray}{text[at % len(text) :]}"
    if cut >= 0:
        text = text[: cut % len(text)] + text[cut % len(text) + 1 :]
    (tmp_path / name).write_text(text)
    try:
        found = list(rows.read([tmp_path / name], {}, ""))
    except UserError:
        return
    mistakes = len(strays) + (cut >= 0)
    as_written = sum(row in written for row in found)
    touched = [row for row in found if isinstance(row, Row) and row not in written]
    assert len(touched) <= mistakes, "no row differs but by a character that came in or was lost"
    assert as_written + len(touched) + sum(not isinstance(row, Row) for row in found) >= len(written) - mistakes


def test_rows_that_two_stray_quotes_join_are_counted(tmp_path: Path) -> None:
    texts = [json.dumps(ROW | {"id": str(number)}) for number in range(40)]
    texts[5], texts[20] = texts[5].replace("What", 'Wh"at'), texts[20].replace("What", 'Wh"at')
    (tmp_path / "own.json").write_text(f"[{', '.join(texts)}]")
    problems, refused = taken(tmp_path, "own.json")
    assert len(problems) == 24 and len(refused) == 16 and "16 rows seem to stand in it" in refused[0]["detail"]


def test_a_line_with_too_few_fields_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(f"{HEADER}\n1,What is x?,3\n2,What is y?\n3,What is z?,4\n")
    problems, refused = taken(tmp_path, "own.csv")
    assert problems.keys() == {"1", "3"} and "fewer fields" in refused[0]["detail"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("own.csv", "id,question,answer,answer\n1,q,3,99\n"), ("own.tsv", "id\tquestion\tanswer\tanswer\n1\tq\t3\t9\n")],
)
def test_two_columns_of_one_name_are_refused_by_name(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=r"there are 2 columns 'answer'"):
        taken(tmp_path, name)


def test_a_column_twice_that_nobody_reads_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("id,question,answer,,\n1,q,3,a,b\n")
    assert taken(tmp_path, "own.csv")[0].keys() == {"1"}


@pytest.mark.parametrize(("second", "is_taken"), [('"3"', True), ('"4"', False), ("3", False)])
def test_a_key_twice_is_taken_only_with_one_value(tmp_path: Path, second: str, is_taken: bool) -> None:
    line = f'{{"id": "1", "question": "q", "answer": "3", "answer": {second}}}\n'
    other = '{"id": "2", "question": "q", "answer": "3", "more": {"a": 1}}\n'
    (tmp_path / "own.jsonl").write_text(line + other)
    problems, refused = taken(tmp_path, "own.jsonl")
    assert ("1" in problems) == is_taken and "2" in problems
    assert is_taken or ("own.jsonl, line 1" in refused[0]["detail"] and "'answer' stands twice" in refused[0]["detail"])


def test_a_key_twice_is_seen_however_it_is_written(tmp_path: Path) -> None:
    lines = ['{"id":"1","question":"q","answer":"3","answer" :"4"}', '{"id":"2","question":"a: b","answer":"3"}']
    (tmp_path / "own.jsonl").write_text("\n".join(lines))
    problems, refused = taken(tmp_path, "own.jsonl")
    assert problems.keys() == {"2"} and len(refused) == 1


def test_floats_of_32_bits_are_read_as_they_were_written(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": pa.array([7.0, None, 9.0, 10.0]),
            "question": ["a", "b", "c", "d"],
            "answer": pa.array([0.1, 0.3, 1e-7, float("inf")], pa.float32()),
            "tolerance": pa.array([[0.05], [], None, [0.01]], pa.list_(pa.float32())),
        }
    )
    pq.write_table(table, tmp_path / "own.parquet")
    problems, refused = taken(tmp_path, "own.parquet", columns={"image": "", "tolerance": "tolerance"})
    assert {name: problem.answer for name, problem in problems.items()} == {"7": "0.1", "9": "1e-07"}
    assert problems["7"].tolerance == (0.05,)
    assert [row["reason"] for row in refused] == ["missing_value", "bad_value"]
    assert "row 1 (from 0)" in refused[0]["detail"]


@pytest.mark.parametrize("answer", ["nan", "NaN", "inf", "-inf", " Inf "])
def test_a_number_that_is_none_is_no_gold_answer(tmp_path: Path, answer: str) -> None:
    (tmp_path / "own.csv").write_text(f"{HEADER}\n1,q,{answer}\n2,q,infinity\n")
    problems, refused = taken(tmp_path, "own.csv")
    assert problems.keys() == {"2"} and refused[0]["reason"] == "bad_value"


def test_ids_that_are_rounded_are_refused(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"id": [2.0**60, 1.5], "question": ["a", "b"], "answer": ["1", "2"]}), tmp_path / "o.parquet"
    )
    problems, refused = taken(tmp_path, "o.parquet")
    assert problems.keys() == {"1.5"} and "rounded" in refused[0]["detail"]


# Forms of files.


ROW = {"id": "1", "question": "What is x?", "answer": "3"}


def separated(found: list[dict[str, str]], by: str) -> bytes:
    return "\n".join([HEADER.replace(",", by), *(by.join(row.values()) for row in found)]).encode()


WRITERS: dict[str, Callable[[list[dict[str, str]]], bytes]] = {
    "a.jsonl": lambda found: json.dumps(found).encode(),  # an array by the wrong name
    "b.json": lambda found: json.dumps({"version": "1", "data": found}).encode(),
    "c.json": lambda found: json.dumps({row["id"]: {**row, "id": row["id"]} for row in found}, indent=1).encode(),
    "d.json": lambda found: json.dumps(
        {row["id"]: {name: row[name] for name in ("question", "answer")} for row in found}
    ).encode(),
    "e.tsv": lambda found: (
        b"id\tquestion\tanswer\n" + "".join("\t".join(row.values()) + "\n" for row in found).encode()
    ),
    "f.jsonl.gz": lambda found: gzip.compress("\n".join(map(json.dumps, found)).encode()),
    "g.jsonl.zst": lambda found: bytes(pa.compress("\n".join(map(json.dumps, found)).encode(), "zstd", asbytes=True)),
    "h.csv.gz": lambda found: gzip.compress(
        (HEADER + "\n" + "".join(",".join(row.values()) + "\n" for row in found)).encode()
    ),
    "i.json": lambda found: "\n".join(map(json.dumps, found)).encode(),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("count", [1, 3])
def test_rows_are_found_in_every_form_of_file(tmp_path: Path, name: str, count: int) -> None:
    found = [{"id": str(number), "question": f"What is {number}?", "answer": "3"} for number in range(count)]
    (tmp_path / name).write_bytes(WRITERS[name](found))
    problems, refused = taken(tmp_path, name)
    assert [(name, problem.question) for name, problem in problems.items()] == [
        (row["id"], row["question"]) for row in found
    ]
    assert not refused


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", json.dumps([ROW]).encode("utf-16"), "it is UTF-16"),
        ("a.csv", f"{HEADER}\n1,q,3\n".encode("utf-16"), "it is UTF-16"),
        ("a.jsonl", json.dumps(ROW).encode("utf-16-le"), "it is UTF-16"),
        ("a.json", b'{"one": [{"a": 1}], "two": [{"b": 1}]}', "there are rows in 'one' and in 'two'"),
        ("a.json", b'{"1": {"question": "q"}, "1": {"question": "r"}}', "'1' stands twice"),
        ("a.jsonl.gz", b"no gzip", "cannot be unpacked"),
    ],
)
def test_a_file_that_can_be_read_in_two_ways_or_in_none_is_named(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=says) as raised:
        taken(tmp_path, name)
    assert name in str(raised.value)


def test_a_single_row_with_turns_or_a_nested_object_is_a_row_and_no_table(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(ROW | {"metadata": {"task": "x"}, "turns": [{"from": "human"}]}))
    assert taken(tmp_path, "a.json")[0].keys() == {"1"}


def test_hidden_files_and_empty_shards_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "__MACOSX").mkdir(parents=True)
    table = pa.table({"id": ["1"], "question": ["q"], "answer": ["3"]})
    pq.write_table(table.slice(1), folder / "a.parquet")
    pq.write_table(table, folder / "b.parquet")
    for name in ("._b.parquet", "__MACOSX/b.parquet"):
        (folder / name).write_bytes(b"Mac OS X attributes")
    for name in ("c.csv", "d.jsonl"):
        (folder / name).touch()
    files = ["*.parquet", "*.csv", "*.jsonl"]
    assert taken(tmp_path, "data", files=files)[0].keys() == {"1"}


def test_a_source_without_any_row_says_so(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": pa.array([], pa.string()), "question": [], "answer": []}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"there are no rows in .*a\.parquet"):
        taken(tmp_path, "a.parquet")


def test_the_first_refusals_are_shown_with_their_lines_and_the_folder_of_images(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    lines = [json.dumps(ROW | {"id": str(at), "image": "a.png" if at % 10 else "b.png"}) for at in range(60)]
    (tmp_path / "own.jsonl").write_text("\n\n".join(lines))
    _, refused = taken(tmp_path, "own.jsonl", columns={})
    assert len(refused) == 6 and refused[1]["detail"].startswith("own.jsonl, line 21: there is no file 'b.png'")
    shown = capsys.readouterr().err + caplog.text
    assert all(f"own.jsonl, line {line}:" in shown for line in (1, 21, 41)) and "line 61:" not in shown
    with pytest.raises(UserError, match=r"nowhere: no such folder; set `images`"):
        taken(tmp_path, "own.jsonl", columns={}, images=tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    with pytest.raises(
        UserError, match=r"images are looked for in .*other: is `images` right\?\n.*line 1: there is no"
    ):
        taken(tmp_path, "own.jsonl", columns={}, images=tmp_path / "other")


def test_the_second_of_two_ids_is_refused_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text("\n".join([json.dumps(ROW)] * 2))
    _, refused = taken(tmp_path, "own.jsonl")
    assert refused[0]["detail"] == "own.jsonl, line 2: row 0 (from 0) has the same id, and was taken"


def test_rows_of_every_form_know_their_file(tmp_path: Path) -> None:
    for part in ("x", "y"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "a.jsonl").write_text('{"id": 1}\n{"id": 2}\n')
    places = [row.place for row in rows.read([tmp_path / "x/a.jsonl", tmp_path / "y/a.jsonl"], {}, "")]
    assert places == [f"{tmp_path}/{part}/a.jsonl, line {line}" for part in ("x", "y") for line in (1, 2)]
