"""Hostile rows: each is taken or refused with a reason, and none ends its source, hides another or fills the memory."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from table_pictures import picture
from taking import take_in

from mmprm.config.sources import KINDS
from mmprm.data import schemas, tables
from mmprm.problems import csv_rows, json_array, json_rows, parquet_rows, parts, rows
from mmprm.problems.fields import SourceContext
from mmprm.problems.places import split_outer
from mmprm.problems.refusals import RowRefusedError, object_of, one_row
from mmprm.runtime.errors import UserError
from mmprm.step_data import read_steps
from mmprm.step_data.readers import READERS

BOUNDS = {"max_refused_share": 1.0}
TABLE = {
    "kind": "table",
    "columns": {"image": "", "choices": "choices", "precision": "precision", "solution": "solution"},
}


def good(number: int, **changes: Any) -> dict[str, Any]:
    more = dict.fromkeys(("choices", "precision", "solution"))
    return {"id": f"good{number}", "question": f"What is {number}?", "answer": str(number)} | more | changes


def taken(folder: Path, lines: list[str], **source: Any) -> tuple[list[str], dict[int, str]]:
    """The ids of the problems and the reasons of the refused rows of some lines of JSON."""
    path = folder / "pool.jsonl"
    path.write_text("\n".join(lines))
    problems, bad = take_in(folder, TABLE | {"path": path} | source, BOUNDS)
    return [problem.problem_id for problem in problems], bad


def test_nulls_are_rows_that_are_refused_and_end_nothing(tmp_path: Path) -> None:
    lines = [json.dumps(good(number)) for number in range(100)]
    lines[10:10] = ["null", "null"]
    lines[50:50] = ["null"]
    ids, bad = taken(tmp_path, lines)
    assert len(ids) == 100 and bad == {10: "bad_row", 11: "bad_row", 50: "bad_row"}
    assert taken(tmp_path, ["null", *lines[:9], "null"])[1] == {0: "bad_row", 10: "bad_row"}


def test_a_part_ends_at_no_row_that_looks_like_an_end() -> None:
    values: list[Any] = [None, {"a": 1}, None, None, False, 0, "", [], {}, "a row", None]
    (part,) = parts.cut_parts(iter(values), 0, {})
    assert part == (0, values)


@pytest.mark.parametrize(
    "line",
    [
        json.dumps(good(1, choices="[" * 100_000)),
        '{"id": "q", "question": "q", "answer": "1", "choices": ' + "[" * 100_000,
        json.dumps(good(1, choices='["' + "\\ud83d" + '", "b"]')),
        json.dumps(good(1, answer=["1", ["2"]])),
        json.dumps(good(1, id=["a", {"b": []}])),
        json.dumps(good(1, question=["a", "b"])),
        json.dumps(good(1, precision="9" * 400)),
        json.dumps(good(1, precision=0)).replace(": 0", ": " + "9" * 400),
        json.dumps(good(1)).replace('"1"', "9" * 5000),
        json.dumps(good(1, precision=1e300)),
        json.dumps(good(1, precision=float("inf"))),
        '"a text: \\ud83d"',
        "17",
        json.dumps([good(1)]),
        json.dumps(good(1, question="a" * 2_000_000)),
    ],
    ids=lambda line: line[:90],
)
def test_a_hostile_row_is_refused_and_the_rows_beside_it_are_taken(line: str, tmp_path: Path) -> None:
    ids, bad = taken(tmp_path, [json.dumps(good(0)), line, json.dumps(good(2))])
    assert ids == ["real/good0", "real/good2"] and list(bad) == [1]


@pytest.mark.parametrize(
    "element",
    [
        "[" * 100_000 + "]" * 100_000,
        json.dumps(good(1, choices="[" * 100_000)),
        '{"id": "q", "choices": ' + '{"a": ' * 100_000 + "1" + "}" * 100_000 + "}",
        json.dumps(good(1)).replace('"1"', "9" * 5000),
        '{"id": "q"]',
        "oops",
        "",
        "null",
        '{"id": "a } in a text, and \\" , ["}',
    ],
    ids=lambda element: element[:90],
)
def test_a_hostile_element_of_an_array_costs_itself_and_nothing_beside_it(element: str, tmp_path: Path) -> None:
    path = tmp_path / "pool.json"
    path.write_text(f"[{json.dumps(good(0))},\n{element} , {json.dumps(good(2))}]\n")
    problems, bad = take_in(tmp_path, TABLE | {"path": path}, BOUNDS)
    assert [problem.problem_id for problem in problems] == ["real/good0", "real/good2"] and list(bad) == [1]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@given(
    values=st.lists(
        st.recursive(
            st.none() | st.integers() | st.text(alphabet='\\"[]{},: aé√'),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='\\"]}a'), inner, max_size=3),
            max_leaves=8,
        ),
        max_size=6,
    ),
    indent=st.sampled_from([None, 1]),
)
@settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None, derandomize=True)
def test_the_elements_of_an_array_are_those_of_json_wherever_the_file_is_cut_into_parts(
    values: list[Any], indent: int | None, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_array, "_CHUNK", size)
    path = tmp_path / "pool.json"
    path.write_text(json.dumps(values, ensure_ascii=False, indent=indent) + "\n\n", encoding="utf-8")
    assert [json.loads(text or b"") for text in json_array.elements(path, 10_000, b"")] == values


def test_an_array_larger_than_the_bounds_is_read_and_an_element_larger_than_a_line_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_array, "_CHUNK", 100)
    monkeypatch.setattr(json_rows, "LINE", 1000)
    path = tmp_path / "pool.json"
    long = [good(1, question="a" * 2000), good(2, choices=["[", '"'] * 500)]
    path.write_text(json.dumps([good(0), *long, good(3)]))
    problems, bad = take_in(tmp_path, TABLE | {"path": path}, BOUNDS)
    assert [problem.problem_id for problem in problems] == ["real/good0", "real/good3"]
    assert bad == {1: "bad_row", 2: "bad_row"}


@pytest.mark.parametrize("text", ['[{"id": "a"}', '[{"id": "a"}] x', '[{"id": "a', '[{"id": "a\\', "[1], [2]"])
def test_an_array_that_is_cut_or_goes_on_behind_its_end_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "pool.json").write_text(text)
    with pytest.raises(UserError, match=r"pool\.json: not a JSON array"):
        list(json_array.elements(tmp_path / "pool.json", 1000, b""))


def test_columns_that_nobody_reads_may_hold_what_cannot_be_decoded(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": ["a", "b"],
            "question": ["1 + 1?", "2 + 2?"],
            "answer": ["2", "4"],
            "seen": pa.array([2**40, 0], pa.timestamp("s")),
            "bytes": pa.array([b"\xff", b"x"], pa.binary()).view(pa.string()),
        }
    )
    pq.write_table(table, tmp_path / "pool.parquet")
    source = {"kind": "table", "columns": {"image": ""}, "path": tmp_path / "pool.parquet"}
    problems, bad = take_in(tmp_path, source, BOUNDS)
    assert len(problems) == 2 and not bad
    source["columns"] = {"image": "", "group": "bytes"}  # and where it is read, its row alone is refused
    problems, bad = take_in(tmp_path, source, BOUNDS)
    assert [problem.problem_id for problem in problems] == ["real/b"] and bad == {0: "bad_text"}


def test_a_small_file_of_one_long_text_many_times_fills_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_rows, "_DECODED", 2**23)
    monkeypatch.setattr(parquet_rows, "_LARGE", 2**21)
    monkeypatch.setattr(parts, "BYTES", 2**21)
    text = "a" * 2**20
    path = tmp_path / "pool.parquet"
    pq.write_table(pa.table({"id": [str(n) for n in range(64)], "question": [text] * 64}), path, compression="zstd")
    assert path.stat().st_size < 10_000
    before = pa.total_allocated_bytes()
    seen = 0
    for row in rows.read([path], {"id": "id", "question": "question"}, "", also=()):
        seen += 1
        assert len(row["question"]) == len(text)
        assert pa.total_allocated_bytes() - before < 2 * parquet_rows._DECODED + 2**16  # offsets of two batches
    assert seen == 64
    cut = list(parts.cut_parts(rows.read([path], {"id": "id"}, "", also=("question",)), 0, {}))
    assert max(len(found) for _, found in cut) <= 3


def test_a_field_of_csv_that_is_too_long_costs_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_rows, "LINE", 1000)
    path = tmp_path / "pool.csv"
    path.write_text(f"id,question,answer\na,q,1\nb,{'x' * 2000},1\nc,q,1\n")
    found = list(rows.read([path], {}, ""))
    assert [isinstance(row, dict) for row in found] == [True, False, True]


@pytest.mark.parametrize("text", [" " * 100_000 + "x", "x" + " " * 100_000, "<image>" * 20_000 + "x<image>" * 20_000])
def test_blanks_and_placeholders_are_cut_off_in_linear_time(text: str, tmp_path: Path) -> None:
    began = time.process_time()
    before, inner, behind = split_outer(text)
    assert before + inner + behind == text and inner == inner.strip()
    assert time.process_time() - began < 30  # quadratic: some minutes


EXAMPLES = int(os.environ.get("MMPRM_FUZZ", "4"))  # of 25 rows each; 200: five thousand rows of each form
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["\ud800", "<step>", "", "A", "free_form", "text", "9" * 400, 10**400, "[" * 5000, "<image>"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["step", "value", "path"]), inner),
    max_leaves=6,
)
TURNS = [{"from": "human", "value": "<image>\nWhat is x?"}, {"from": "gpt", "value": r"\\boxed{2}"}]
PIECE = {"step": "a", "score": 0.5, "num_mc_correct": 1, "num_mc_total": 2}
# Of each form a row that is nearly right, in which a few values are replaced.
ROWS: dict[str, dict[str, Any]] = {
    "table": good(1, choices=["1", "2"], precision=1, solution="1"),
    "conversations": {"id": "a", "image": "a.png", "conversations": TURNS},
    "mm_k12": good(1, image="a.png", subject="algebra"),
    "mathvista": {
        "pid": "1",
        "question": "q",
        "decoded_image": "a.png",
        "choices": ["1", "2"],
        "unit": None,
        "query": "q",
    }
    | {
        "precision": 1.0,
        "answer": "1",
        "question_type": "multi_choice",
        "answer_type": "text",
        "metadata": {"task": "t"},
    },
    "mathverse": {"sample_index": "1", "problem_index": "1", "problem_version": "Vision Only", "image": "a.png"}
    | {"answer": "A", "question_type": "multi-choice", "query_cot": "q"},
    "mathvision": {"id": "1", "question": "q", "options": ["1", "2"], "decoded_image": "a.png", "answer": "A"},
    "olympiadbench": {"id": 1, "question": "q <image_1>", "final_answer": ["1"], "context": None, "image_1": "a.png"}
    | {"is_multiple_answer": False, "unit": None, "answer_type": "Numerical", "error": "1e-3"},
    "visualprm400k": {"image": "a.png", "question": "q", "answer": "1", "steps_with_score": [PIECE, PIECE]},
    "math_shepherd": {"prompt": "q", "completions": ["a", "b"], "labels": [True, False], "images": ["a.png"]},
    "exported": {"question": "q", "answer": "1", "images": ["a.png"], "choices": ["1", "2"], "group": "g"}
    | {"kind": "positive", "steps": ["a"], "final_answer": "A", "n_correct": [1, 1], "n_rollouts": [2, 1]}
    | {"hard": [1, 1], "label_source": ["probed", "answer"], "soft": [0.5, 1.0]},
    "visualprocessbench": {"image": "a.png", "question": "q", "answer": "1"}
    | {"response": {"steps": ["a", "b"], "process_correctness": [1, -1]}},
    "processbench": {"id": "gsm8k-0", "problem": "q", "steps": ["a", "b"], "label": 1},
    "prmbench": {"modified_question": "q", "modified_process": ["a", "b"], "error_steps": [2], "classification": "c"},
}


@st.composite
def rows_like(draw: st.DrawFn, row: dict[str, Any]) -> Any:
    changes = draw(st.dictionaries(st.sampled_from(sorted(row)), VALUES, max_size=3))
    return draw(st.one_of(st.just({**row, **changes}), st.just({**row, **changes}), VALUES))


@pytest.mark.parametrize("form", sorted(ROWS))
def test_random_rows_of_each_form_are_taken_or_refused(form: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    problems = "sources" if form in KINDS["sources"] else "step_data"
    given_source = (TABLE if form == "table" else {"kind": form}) | {"path": str(tmp_path)}
    source = KINDS[problems][form].model_validate(given_source)
    context = SourceContext("real", tmp_path, 1_000_000)
    counts = Counter[str]()

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None, derandomize=True)
    @given(st.lists(rows_like(ROWS[form]), min_size=25, max_size=25))
    def check(found: list[Any]) -> None:
        if problems == "sources":
            part = parts.PartMaker(source, context, tmp_path / "parts")(0, found)
            entries = tables.read_rows(parts.index_file(tmp_path / "parts", 0), schemas.INTAKE_PART)
            assert part.rows == len(entries) == len(found)
            assert all((entry["reason"] is None) == (entry["length"] is not None) for entry in entries)
            counts.update(entry["reason"] or "taken" for entry in entries)
        else:
            paths = [path for row in found if (path := _path(form, row, context, counts)) is not None]
            tables.write(tmp_path / "paths.parquet", paths, schemas.PATHS)

    check()
    assert counts["taken"] and len(counts) > 2, counts


def _path(form: str, row: Any, context: SourceContext, counts: Counter[str]) -> dict[str, Any] | None:
    reader = read_steps._StepReader.__new__(read_steps._StepReader)
    reader.name, reader.source = "real", KINDS["step_data"][form].model_construct()
    try:
        with one_row():
            raw = READERS[form][1](object_of(row))
            problem, path = read_steps._labelled_path(raw, context)
    except RowRefusedError as error:
        counts[error.reason] += 1
        return None
    counts["taken"] += 1
    return reader._path_row("id", problem.problem_id, path, raw)
