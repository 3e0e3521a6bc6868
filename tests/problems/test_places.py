"""Places of images in questions are counted against the images, numbered, and never dropped in silence."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from table_pictures import picture

from mmprm.data.problem import Problem
from mmprm.problems.places import numbered
from mmprm.problems.refusals import RowRefusedError

Intake = Callable[..., tuple[dict[str, Problem], dict[int, str]]]


@pytest.mark.parametrize(
    ("question", "images", "shown"),
    [
        ("<image>\nWhat?", 1, "<image>\nWhat?"),
        ("In <image> what is x?", 1, "In <image1> what is x?"),
        ("<image> Is it <image> or <image>?", 3, "<image> Is it <image2> or <image3>?"),
        ("What?", 2, "What?"),
        ("See <image 1> and <image 2>.", 2, "See <image1> and <image2>."),
        ("See <image_2>.", 2, "See <image_2>."),
    ],
)
def test_places_that_fit_the_images_are_numbered(question: str, images: int, shown: str) -> None:
    assert numbered(question, images) == shown


@pytest.mark.parametrize(
    ("question", "images", "choices"),
    [
        ("<image><image>Which is larger?", 1, ()),
        ("<image>What?", 2, ()),
        ("<image>What?<image>", 1, ()),
        ("<image>What?", 0, ()),
        ("<image 1> and <image 2>?", 1, ()),
        ("<image2>?", 1, ()),
        ("Which?", 1, ("<image 1>", "<image 3>")),
    ],
)
def test_places_that_do_not_fit_are_refused(question: str, images: int, choices: tuple[str, ...]) -> None:
    with pytest.raises(RowRefusedError) as raised:
        numbered(question, images, choices)
    assert raised.value.reason == "placeholders"


def test_one_picture_may_hold_several_places_where_the_source_says_so() -> None:
    assert numbered("<image1> is cut as in <image2>.", 1, composite=True) == "<image1> is cut as in <image2>."


def test_a_table_counts_places_as_conversations_do(intake: Intake, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    (tmp_path / "b.png").write_bytes(picture(1))
    questions = {"two": "<image><image>Which is larger?", "inner": "How many squares does <image> have?"}
    rows: list[dict[str, Any]] = [
        {"id": name, "question": text, "answer": "3", "image": "a.png"} for name, text in questions.items()
    ]
    rows.append({"id": "both", "question": "Is <image> or <image> larger?", "answer": "3", "image": ["a.png", "b.png"]})
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    problems, bad = intake(kind="table", path=tmp_path / "t.jsonl")
    assert problems["inner"].question == "How many squares does <image1> have?"
    assert problems["both"].question == "Is <image1> or <image2> larger?" and bad == {0: "placeholders"}


def test_pictures_come_as_base64_data_uris_and_file_uris(intake: Intake, tmp_path: Path) -> None:
    (tmp_path / "a b.png").write_bytes(picture(3))
    plain = base64.b64encode(picture(3)).decode()
    pictures = {
        "base64": plain,
        "lines": "\n".join(plain[start : start + 76] for start in range(0, len(plain), 76)),
        "uri": f"data:image/png;base64,{plain}",
        "upper": f"DATA:image/png;charset=x;BASE64,{plain}",
        "file": f"file://{tmp_path}/a%20b.png",
        "below": "file://a%20b.png",
        "torn": f"data:image/png;base64,{plain[:90]}!",
        "no comma": "data:image/png",
        "outside": "file:///etc/hostname",
        "web": "https://example.org/a.png",
        "cut": plain[:100],
    }
    rows = [{"id": name, "question": "What?", "answer": "3", "image": text} for name, text in pictures.items()]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    problems, bad = intake(kind="table", path=tmp_path / "t.jsonl")
    assert {name: problem.images for name, problem in problems.items()} == {
        name: (picture(3),) for name in ("base64", "lines", "uri", "upper", "file", "below")
    }
    reasons = ["corrupt_image", "corrupt_image", "path_outside", "missing_file", "truncated_image"]
    assert [bad[row] for row in sorted(bad)] == reasons


@pytest.mark.parametrize("form", ["own.jsonl", "own.csv", "own.parquet"])
def test_a_table_may_mix_rows_with_and_without_pictures_where_it_says_so(
    intake: Intake, tmp_path: Path, form: str
) -> None:
    """The other rows are published questions of GSM8K's kind, whose cell for the picture is empty in three ways."""
    (tmp_path / "a.png").write_bytes(picture())
    cells = ["a.png", None, "" if form != "own.parquet" else None]
    table = [{"id": str(at), "question": f"q{at}", "answer": "1", "image": cell} for at, cell in enumerate(cells)]
    if form == "own.jsonl":
        (tmp_path / form).write_text("\n".join(map(json.dumps, table)))
    elif form == "own.csv":
        lines = [",".join("" if value is None else value for value in row.values()) for row in table]
        (tmp_path / form).write_text("\n".join(["id,question,answer,image", *lines]))
    else:
        images = pa.array([{"bytes": picture(), "path": "a.png"}, {"bytes": None, "path": None}, None])
        pq.write_table(pa.Table.from_pylist(table).set_column(3, "image", images), tmp_path / form)
    problems, reasons = intake(kind="table", path=tmp_path / form, image_optional=True)
    assert [len(problem.images) for problem in problems.values()] == [1, 0, 0] and not reasons
    problems, reasons = intake(kind="table", path=tmp_path / form)
    assert len(problems) == 1 and set(reasons.values()) == {"missing_value"}


def test_a_refusal_does_not_hold_the_picture(intake: Intake, tmp_path: Path) -> None:
    from mmprm.data import schemas, tables

    (tmp_path / "a.png").write_bytes(picture())
    text = "A" * 600_000  # base64 of no picture, in place of a path
    rows = [{"id": "a", "question": "q", "answer": "1", "image": text}, {"id": "b", "question": "q", "answer": "1"}]
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps({"image": "a.png"} | row) for row in rows))
    _, bad = intake(kind="table", path=tmp_path / "t.jsonl")
    assert list(bad) == [0]
    (refused,) = tables.read_rows(tmp_path / "out/real.refused.parquet", schemas.REFUSED)
    assert len(refused["detail"]) < 500


@pytest.mark.parametrize(("brand", "name"), [(b"avif", "AVIF"), (b"heic", "HEIC"), (b"mif1", "HEIC")])
def test_other_kinds_of_pictures_are_named(intake: Intake, tmp_path: Path, brand: bytes, name: str) -> None:
    from mmprm.problems.image_checks import check

    with pytest.raises(RowRefusedError, match=f"this is {name}"):
        check(b"\x00\x00\x00\x1cftyp" + brand + bytes(64), 1000)


def test_a_picture_that_no_processor_takes_is_refused() -> None:
    from mmprm.problems.image_checks import check

    check(picture(size=(400, 2)), 10_000)
    with pytest.raises(RowRefusedError, match="more than 200 times") as raised:
        check(picture(size=(402, 2)), 10_000)
    assert raised.value.reason == "image_aspect"


def test_turns_as_text_and_roles_in_capitals_are_read(intake: Intake, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    uri = "data:image/png;base64," + base64.b64encode(picture(2)).decode()
    turns = [{"from": "human", "value": "<image>\nHow wide?"}, {"from": "gpt", "value": "It is \\boxed{7}."}]
    parts = [{"type": "image_url", "image_url": {"url": uri}}, {"type": "text", "text": "How wide?"}]
    rows = [
        {"id": "text", "image": "a.png", "conversations": json.dumps(turns)},
        {"id": "capitals", "image": "a.png"}
        | {"conversations": [turn | {"from": role} for turn, role in zip(turns, ("Human", "Assistant"), strict=True)]},
        {
            "id": "uri",
            "conversations": [{"role": "user", "content": parts}, {"role": "assistant", "content": "\\boxed{7}"}],
        },
        {"id": "torn", "image": "a.png", "conversations": "[{"},
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    problems, bad = intake(kind="conversations", path=tmp_path / "t.jsonl")
    assert {name: problem.answer for name, problem in problems.items()} == dict.fromkeys(
        ("text", "capitals", "uri"), "7"
    )
    assert problems["uri"].images == (picture(2),) and bad == {3: "bad_turns"}
