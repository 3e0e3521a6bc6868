"""Intake: real and broken tables become problems, and each row that does not is refused with its reason."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from taking import take_in

from mmprm import config
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, read_problems
from mmprm.problems.intake import make_source
from mmprm.runtime.errors import UserError


def picture(format_: str = "PNG", size: tuple[int, int] = (24, 16)) -> bytes:
    """An encoded image with enough detail that a cut of its bytes is a cut of its pixels."""
    image = Image.new("RGB", size)
    image.putdata([(x * 37 % 256, x * 91 % 256, x * 11 % 256) for x in range(size[0] * size[1])])
    out = io.BytesIO()
    image.save(out, format_)
    return out.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has next to nothing behind it."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 100) + b"IDAT" + bytes(10)


PNG = picture()

Taken = tuple[list[Problem], dict[int, str]]


@pytest.fixture
def take(tmp_path: Path) -> Callable[..., Taken]:
    """Run intake on rows (written as JSON Lines, or the file given); return problems and {row: reason}."""

    def run(rows: Any, *, bound: float = 1.0, max_pixels: int = 10_000, **source: Any) -> Taken:
        path = rows if isinstance(rows, Path) else tmp_path / "table.jsonl"
        if not isinstance(rows, Path):
            path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        given = {"kind": "table", "path": path, "images": tmp_path, **source}
        return take_in(tmp_path, given, {"max_refused_share": bound, "max_image_pixels": max_pixels})

    (tmp_path / "ok.png").write_bytes(PNG)
    return run


def row(**changes: Any) -> dict[str, Any]:
    return {"id": "good", "question": "What is x?", "answer": "3", "image": "ok.png", **changes}


def test_a_good_row_becomes_a_problem_with_the_bytes_of_its_image(take: Callable[..., Taken]) -> None:
    problems, bad = take([row(id=7, answer=2.5)])
    assert problems == [Problem("real/7", "real", "What is x?", "2.5", (PNG,))] and not bad


def test_each_bad_row_of_a_table_is_refused_with_its_reason_and_the_rest_runs(
    take: Callable[..., Taken], tmp_path: Path
) -> None:
    jpeg = picture("JPEG", (64, 64))
    (tmp_path / "corrupt.png").write_bytes(PNG[:30] + bytes(20) + PNG[50:])
    (tmp_path / "flipped.png").write_bytes(PNG[:-20] + bytes([PNG[-20] ^ 1]) + PNG[-19:])
    (tmp_path / "noise.png").write_bytes(b"no image at all")
    (tmp_path / "truncated.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (tmp_path / "tailless.png").write_bytes(PNG[:-12])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "drawing.pdf").write_bytes(b"%PDF-1.7 ...")
    (tmp_path / "scan.tif").write_bytes(picture("TIFF"))
    (tmp_path / "huge.png").write_bytes(png_header(20_000, 20_000))
    (tmp_path / "large.png").write_bytes(picture(size=(101, 100)))
    (tmp_path / "padded.png").write_bytes(PNG + bytes(2_000_000))
    cases: list[tuple[Any, str]] = [
        (row(), ""),
        (row(question="And y?"), "duplicate_id"),
        (row(id="1", image="corrupt.png"), "corrupt_image"),
        (row(id="2", image="flipped.png"), "corrupt_image"),
        (row(id="3", image="noise.png"), "corrupt_image"),
        (row(id="4", image="empty.png"), "corrupt_image"),
        (row(id="5", image="truncated.jpg"), "truncated_image"),
        (row(id="6", image="tailless.png"), "truncated_image"),
        (row(id="7", image="drawing.pdf"), "image_format"),
        (row(id="8", image="scan.tif"), "image_format"),
        (row(id="9", image="huge.png"), "image_too_large"),
        (row(id="10", image="large.png"), "image_too_large"),
        (row(id="11", image="padded.png"), "image_too_large"),
        (row(id="12", image="absent.png"), "missing_file"),
        (row(id="13", image="."), "missing_file"),
        (row(id="14", image="a\x00b.png"), "missing_file"),
        (row(id="15", image="x" * 5000), "missing_file"),
        (row(id="16", answer=" "), "empty_answer"),
        (row(id="17", question="\n"), "empty_question"),
        (row(id=" "), "empty_id"),
        (row(id="18", answer=None), "missing_value"),
        (row(id="19", image=None), "missing_value"),
        (row(id="20", image=["ok.png", None]), "missing_value"),
        (row(id="21", image=[]), "missing_value"),
        ({"id": "22", "question": "q", "image": "ok.png"}, "missing_value"),
        (row(id="23", answer=float("nan")), "missing_value"),
        (row(id="24", question="Say <step>x</step>"), "control_string"),
        (row(id="25", question="Is <prm> right?"), "control_string"),
        (row(id="26", question="In <IMG_CONTEXT> we see"), "control_string"),
        (row(id="27", question="In <image> and <image> and below"), "placeholders"),
        (row(id="28", answer="<answer>3</answer>"), "control_string"),
        (row(id="29", question={"text": "q"}), "bad_value"),
        (row(id="30", answer=True), "bad_value"),
        (row(id="31", image=7), "bad_value"),
        (row(id="32", question="\ud800"), "bad_text"),
        (row(id="\ud800"), "bad_text"),
        ("[1, 2]", "bad_row"),
        ('{"id": "33", "question": "wh', "bad_row"),
        (row(id="last"), ""),
    ]
    problems, bad = take([case for case, _ in cases])
    assert bad == {number: reason for number, (_, reason) in enumerate(cases) if reason}
    assert [problem.problem_id for problem in problems] == ["real/good", "real/last"]
    assert problems[0].question == "What is x?"


def test_an_image_of_20000_by_20000_pixels_is_refused_without_being_unpacked(
    take: Callable[..., Taken], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "huge.png").write_bytes(png_header(20_000, 20_000))

    def unpack(*_: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", unpack)
    with pytest.raises(UserError, match="1 image_too_large"):
        take([row(image="huge.png")], max_pixels=25_000_000)


@pytest.mark.parametrize("name", ["../secret.png", "{outside}/secret.png", "link.png", "linked/secret.png"])
def test_an_image_path_that_leaves_the_images_folder_is_refused(
    take: Callable[..., Taken], tmp_path: Path, name: str
) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "outside" / "inside"
    inside.mkdir(parents=True)
    (outside / "secret.png").write_bytes(PNG)
    (inside / "link.png").symlink_to(outside / "secret.png")
    (inside / "linked").symlink_to(outside)
    (inside / "ok.png").write_bytes(PNG)
    problems, bad = take([row(id="bad", image=name.format(outside=outside)), row()], images=str(inside))
    assert bad == {0: "path_outside"} and len(problems) == 1


def test_a_link_that_stays_inside_the_images_folder_is_followed(take: Callable[..., Taken], tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(tmp_path / "ok.png")
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    problems, bad = take([row(image="link.png"), row(id="circle", image="circle.png")])
    assert len(problems) == 1 and bad == {1: "missing_file"}


def test_outer_image_placeholders_are_dropped_and_numbered_ones_are_kept(take: Callable[..., Taken]) -> None:
    questions = ["<image>\nWhat?", "What?\n<image>", "See <image1>.\n<image2>"]
    problems, bad = take([row(id=str(at), question=question) for at, question in enumerate(questions)], composite=True)
    assert [problem.question for problem in problems] == ["What?", "What?", "See <image1>.\n<image2>"]
    assert not bad


def test_choices_solution_and_answer_type_are_taken_where_the_source_names_them(take: Callable[..., Taken]) -> None:
    solution = "<step>a</step><answer>B</answer>"
    rows = [
        row(id="1", options=["1", "3"], kind="choice", cot=solution),
        row(id="2", options='["1", 3]', kind=None, cot=None),
        row(id="3", options=None),
        row(id="4", options="1 or 2"),
        row(id="5", options=["1", " "]),
        row(id="6", options=["1"] * 27),
        row(id="7", options=["3", "<prm>"]),
        row(id="8", kind="Numerical"),
        row(id="9", cot="First, a."),
    ]
    problems, bad = take(rows, columns={"choices": "options", "answer_type": "kind", "solution": "cot"})
    found = [(problem.choices, problem.answer_type, problem.solution) for problem in problems]
    assert found == [
        (("1", "3"), "choice", solution),
        (("1", "3"), "auto", None),
        ((), "auto", None),
        ((), "auto", "First, a."),  # which a tagged source puts into steps
    ]
    assert bad == {
        3: "bad_value",
        4: "bad_value",
        5: "bad_value",
        6: "control_string",
        7: "bad_value",
    }
    assert take([row(choices=["1", "2"])])[0][0].choices == ()


def test_a_missing_column_names_the_file_the_column_and_what_there_is(take: Callable[..., Taken]) -> None:
    with pytest.raises(
        UserError, match=r"table\.jsonl.*no column 'picture' for 'image'.*'question', 'answer', 'image'"
    ):
        take([row()], columns={"image": "picture"})
    no_image = {name: value for name, value in row().items() if name != "image"}
    with pytest.raises(UserError, match="no column 'image'"):
        take([no_image])
    problems, _ = take([no_image], columns={"image": ""})
    assert problems[0].images == ()


def test_too_many_refused_rows_stop_the_run_and_leave_the_list(take: Callable[..., Taken], tmp_path: Path) -> None:
    rows = [row(id=str(number)) for number in range(18)] + [row(id="x", answer=""), row(id="y", image="absent.png")]
    problems, bad = take(rows, bound=0.1)
    assert len(problems) == 18 and len(bad) == 2
    (tmp_path / "out" / "real.parquet").unlink()
    with pytest.raises(UserError, match=r"2 of 20 rows.*1 empty_answer, 1 missing_file.*0\.09") as raised:
        take(rows, bound=0.09)
    stopped = tmp_path / "out" / "real.refused.stopped.parquet"
    assert str(stopped) in str(raised.value)
    assert [bad["problem_id"] for bad in tables.read_rows(stopped, schemas.REFUSED)] == ["real/x", "real/y"]
    assert not (tmp_path / "out" / "real.parquet").exists()
    take(rows, bound=0.1)
    assert not stopped.exists()


def test_parquet_columns_of_bytes_structs_paths_and_lists_all_load(take: Callable[..., Taken], tmp_path: Path) -> None:
    other = picture("JPEG")
    columns = {
        "raw": [PNG, other],
        "struct": [{"bytes": PNG, "path": None}, {"bytes": None, "path": "ok.png"}],
        "path": ["ok.png", "ok.png"],
        "several": [[{"bytes": PNG, "path": None}, {"bytes": other, "path": "x"}], [{"bytes": PNG, "path": None}]],
    }
    table = pa.table({"id": ["1", "2"], "question": ["a", "b"], "answer": [1, 2], **columns})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=1)
    expected = {
        "raw": [(PNG,), (other,)],
        "struct": [(PNG,), (PNG,)],
        "path": [(PNG,), (PNG,)],
        "several": [(PNG, other), (PNG,)],
    }
    for column, found in expected.items():
        problems, bad = take(tmp_path / "t.parquet", columns={"image": column})
        assert [problem.images for problem in problems] == found and not bad
    assert len(take(tmp_path / "t.parquet", columns={"image": "raw"}, limit=1)[0]) == 1


def test_a_json_array_and_json_lines_give_the_same_problems(take: Callable[..., Taken], tmp_path: Path) -> None:
    rows = [row(id="1"), row(id="2", question="Straße?")]
    (tmp_path / "a.json").write_text("\ufeff" + json.dumps(rows, ensure_ascii=False))
    (tmp_path / "b.json").write_text("\n".join(json.dumps(row) for row in rows))
    assert take(tmp_path / "a.json") == take(tmp_path / "b.json") == take(rows)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", b'[{"id": 1},', "not a JSON array"),
        ("a.json", b'{\n"data": [\n]\n}', "no rows"),
        ("a.json", b'{\n"data": [\n]\n', "neither"),
        ("a.jsonl", b"", "no rows"),
        ("a.json", b"[]", "no rows"),
        ("a.json", b"[" * 100_000, "not a JSON array"),
        ("a.parquet", b"PAR1 torn", "not a readable parquet"),
        ("a.txt", b"id,question", "sources are .parquet"),
    ],
)
def test_a_file_that_is_no_table_is_named(
    take: Callable[..., Taken], tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=says) as raised:
        take(tmp_path / name)
    assert name in str(raised.value)


def test_a_missing_file_is_named(take: Callable[..., Taken], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.json: no such file"):
        take(tmp_path / "nowhere.json")


def test_drawn_problems_are_named_after_their_source(tmp_path: Path) -> None:
    settings = config.load(
        {
            "run": "test",
            "seed": 3,
            "sources": {
                "drawn": {"kind": "mini", "split": "dev", "size": 6, "families": ["bars", "table"]},
                "pool": {"kind": "mini", "split": "sft", "size": 1, "families": ["bars"]},
            },
            "policy": {"base": "none", "sources": ["pool"]},
            "seeds": {"sources": ["pool"]},
            "benchmarks": {"drawn": {"source": "drawn"}},
        }
    )
    make_source(settings, "drawn", tmp_path / "a.parquet", tmp_path / "a.refused.parquet")
    problems = read_problems(tmp_path / "a.parquet")
    assert len({problem.problem_id for problem in problems}) == 6
    assert all(problem.problem_id.startswith("drawn/") and problem.source == "drawn" for problem in problems)
    assert tables.read(tmp_path / "a.refused.parquet", schemas.REFUSED).num_rows == 0
    make_source(settings, "drawn", tmp_path / "b.parquet", tmp_path / "b.refused.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_the_problems_of_a_sealed_test_are_drawn_by_no_intake(tmp_path: Path) -> None:
    mini = {"kind": "mini", "size": 6, "families": ["bars", "table"]}
    values = {
        "run": "test",
        "sources": {
            "sealed": mini | {"split": "sealed"},
            "pool": mini | {"split": "sft"},
            "dev": mini | {"split": "dev"},
        },
        "policy": {"base": "none", "sources": ["pool"]},
        "seeds": {"sources": ["pool"]},
        "benchmarks": {"dev": {"source": "dev"}},
    }
    with pytest.raises(UserError, match=r"sources\.sealed: .* drawn at its first look, by `snakemake sealed`"):
        make_source(config.load(values), "sealed", tmp_path / "sealed.parquet", tmp_path / "refused.parquet")


def test_a_source_may_be_drawn_by_a_seed_of_its_own(tmp_path: Path) -> None:
    def drawn(run_seed: int, seed: int | None) -> list[Problem]:
        mini = {"kind": "mini", "size": 6, "families": ["bars", "table"]}
        values = {
            "run": "test",
            "seed": run_seed,
            "sources": {"fixed": mini | {"split": "test", "seed": seed}, "pool": mini | {"split": "sft"}},
            "policy": {"base": "none", "sources": ["pool"]},
            "seeds": {"sources": ["pool"]},
            "benchmarks": {"fixed": {"source": "fixed"}},
        }
        out = tmp_path / "fixed.parquet"
        make_source(config.load(values), "fixed", out, tmp_path / "refused.parquet")
        return read_problems(out)

    assert drawn(0, 7) == drawn(1, 7) != drawn(0, 8)
    assert drawn(0, None) == drawn(5, 0) != drawn(1, None)
