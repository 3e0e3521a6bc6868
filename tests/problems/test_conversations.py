"""Conversations become problems with raw solutions; rows that are no question and reply are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from table_pictures import hub_image, picture

from mmprm.data.problem import Problem
from mmprm.problems.adapters.conversations import answer_in
from mmprm.problems.refusals import RowRefusedError
from mmprm.runtime.errors import UserError

Intake = Callable[..., tuple[dict[str, Problem], dict[int, str]]]
REPLY = "The sides are 3 and 4.\nSo the area is $3 \\cdot 4 = 12$.\n\\boxed{12}"


def turns(*texts: Any) -> list[dict[str, Any]]:
    """Of LLaVA's form, the human first."""
    return [{"from": ("human", "gpt")[at % 2], "value": text} for at, text in enumerate(texts)]


def lines(folder: Path, rows: list[dict[str, Any]]) -> Path:
    for number in range(3):
        (folder / f"{number}.png").write_bytes(picture(number))
    path = folder / "turns.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_llava_rows_become_problems_with_their_replies_as_raw_solutions(intake: Intake, tmp_path: Path) -> None:
    rows = [
        {"id": "one", "image": "0.png", "conversations": turns("<image>\nWhat is the area?", REPLY)},
        {"id": "two", "image": ["0.png", "1.png"], "conversations": turns("<image> <image>\nAnd these?", REPLY)},
        {"id": "none", "conversations": turns("What is 3 * 4?", REPLY)},
        {"id": "unnamed", "image": "2.png", "conversations": turns("What is the area?", REPLY)},
        {"id": "said", "conversations": [{"from": "system", "value": "Be brief."}, *turns("1 + 1?", "\\boxed{2}")]},
    ]
    found, bad = intake(kind="conversations", path=lines(tmp_path, rows))
    assert not bad and list(found) == ["none", "one", "said", "two", "unnamed"]
    assert found["one"] == Problem(
        "real/one", "real", "What is the area?", "12", (picture(0),), solution=REPLY, group="real/one"
    )
    assert found["two"].images == (picture(0), picture(1)) and found["two"].question == "And these?"
    assert (found["none"].images, found["unnamed"].images) == ((), (picture(2),))
    assert (found["said"].question, found["said"].answer) == ("1 + 1?", "2")


def test_messages_with_parts_load_from_parquet_with_their_images_in_order(intake: Intake, tmp_path: Path) -> None:
    part = pa.struct([("type", pa.string()), ("text", pa.string())])
    message = pa.struct([("role", pa.string()), ("content", pa.list_(part))])
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    text, picture_part = (lambda words: {"type": "text", "text": words}), {"type": "image", "text": None}
    asked = [picture_part, text("What is the area of"), picture_part, text("?")]
    rows = {
        "messages": [[{"role": "user", "content": asked}, {"role": "assistant", "content": [text(REPLY)]}]] * 2,
        "images": [[hub_image(0), hub_image(1)], [hub_image(2), hub_image(1)]],
    }
    schema = pa.schema([("messages", pa.list_(message)), ("images", pa.list_(image))])
    pq.write_table(pa.table(rows, schema=schema), tmp_path / "chat.parquet")
    columns = {"turns": "messages", "id": ""}
    found, bad = intake(kind="conversations", path=tmp_path / "chat.parquet", columns=columns)
    assert not bad and list(found) == ["0", "1"]  # no id: the row's number
    assert [found[name].images[0] for name in "01"] == [picture(0), picture(2)]
    assert found["0"].images[1] == picture(1)
    assert found["0"].question == "What is the area of\n<image2>\n?"  # the placeholder within says which it means


def test_parts_may_bring_their_own_images(intake: Intake, tmp_path: Path) -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "1.png"}},
        {"type": "image"},
        {"type": "image", "image": "0.png"},
        {"type": "text", "text": "Which?"},
    ]
    messages = [{"role": "user", "content": parts}, {"role": "assistant", "content": "\\boxed{A}"}]
    path = lines(tmp_path, [{"id": "x", "messages": messages, "image": "2.png"}])
    found, bad = intake(kind="conversations", path=path, columns={"turns": "messages"})
    assert not bad and found["x"].images == (picture(1), picture(2), picture(0)) and found["x"].question == "Which?"


def test_rows_that_are_no_question_and_reply_are_refused_with_the_reason(intake: Intake, tmp_path: Path) -> None:
    good = turns("<image>\nWhat?", REPLY)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"conversations": good, "image": "0.png"}, ""),
        ({"conversations": good}, "placeholders"),
        ({"conversations": good, "image": ["0.png", "1.png"]}, "placeholders"),
        ({"conversations": turns("<image><image>\nWhat?", REPLY), "image": "0.png"}, "placeholders"),
        ({"conversations": [*good, *turns("And now?", REPLY)], "image": "0.png"}, "extra_turns"),
        ({"conversations": good[:1], "image": "0.png"}, "bad_turns"),
        ({"conversations": good[::-1], "image": "0.png"}, "bad_turns"),
        ({"conversations": [], "image": "0.png"}, "bad_turns"),
        ({"conversations": "What?", "image": "0.png"}, "bad_turns"),
        ({"conversations": ["What?"], "image": "0.png"}, "bad_turns"),
        ({"conversations": [{"from": "tool", "value": "x"}, *good], "image": "0.png"}, "bad_turns"),
        ({"conversations": turns([{"type": "audio"}], REPLY)}, "bad_turns"),
        ({"conversations": turns(["text"], REPLY)}, "bad_turns"),
        ({"conversations": turns(None, REPLY)}, "bad_value"),
        ({"conversations": turns("What?", {"a": 1})}, "bad_value"),
        ({"conversations": turns("<image>", REPLY), "image": "0.png"}, "empty_question"),
        ({"conversations": turns("What?", "It is 12.")}, "no_answer"),
        ({"conversations": turns("What?", "")}, "no_answer"),
        ({"conversations": turns("Say <step>", REPLY)}, "control_string"),
        ({"conversations": good, "image": "absent.png"}, "missing_file"),
        ({"conversations": good, "image": "https://host/0.png"}, "missing_file"),  # nothing is fetched
        ({"conversations": good, "image": "../0.png"}, "path_outside"),
    ]
    rows = [{"id": number} | row for number, (row, _) in enumerate(cases)]
    found, bad = intake(kind="conversations", path=lines(tmp_path, rows))
    assert bad == {number: reason for number, (_, reason) in enumerate(cases) if reason}
    assert list(found) == ["0"]


def test_extra_turns_are_dropped_where_that_is_asked_for_with_their_images(intake: Intake, tmp_path: Path) -> None:
    both = turns("<image>\nWhat?", REPLY, "<image>\nAnd this?", "\\boxed{7}")
    later = turns("What is 3 * 4?", REPLY, "<image>\nAnd this?", "\\boxed{7}")
    rows = [
        {"id": "both", "conversations": both, "image": ["0.png", "1.png"]},
        {"id": "later", "conversations": later, "image": "1.png"},
        {"id": "short", "conversations": both, "image": "0.png"},
    ]
    found, bad = intake(kind="conversations", path=lines(tmp_path, rows), extra_turns="drop")
    assert bad == {2: "placeholders"}
    assert (found["both"].images, found["later"].images) == ((picture(0),), ())
    assert (found["both"].answer, found["both"].solution) == ("12", REPLY)


@pytest.mark.parametrize(
    ("where", "reply", "answer"),
    [
        ("boxed", "\\boxed{1}, no: \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("boxed", "<think>\\boxed{3}</think>It is \\boxed{4}", "4"),
        ("boxed", "the answer is 4", None),
        ("boxed", "\\boxed{ }", None),
        ("tag", "So.\n<answer> B </answer>", "B"),
        ("tag", "So \\boxed{4}", None),
        ("tag", "<answer></answer>", None),
        ("last_line", "It has sides.\nThe answer is 12 cm.\n\n", "12 cm"),
        ("last_line", "3 * 4 = 12\n#### 12", "12"),
        ("last_line", "Rechnung\n**Answer: C**", "C"),
        ("last_line", "so\n$x = 5$", "$x = 5$"),
        ("last_line", " \n ", None),
        ("whole", " B\n", "B"),
        ("whole", "<think>x</think>\nB", "B"),
        ("whole", "", None),
    ],
)
def test_the_answer_is_taken_from_where_the_source_says_or_the_row_is_refused(
    where: str, reply: str, answer: str | None
) -> None:
    if answer is not None:
        assert answer_in(reply, where) == answer
    else:
        with pytest.raises(RowRefusedError) as raised:
            answer_in(reply, where)
        assert raised.value.reason == "no_answer"


def test_a_reply_that_is_but_the_answer_is_no_solution_and_a_column_may_have_the_answer(
    intake: Intake, tmp_path: Path
) -> None:
    row = {"id": "x", "conversations": turns("<image>Which?", "B"), "image": "0.png"}
    path = lines(tmp_path, [row | {"gold": "C", "options": ["1", "2"]}])
    found, _ = intake(kind="conversations", path=path, answer="whole", columns={"choices": "options"})
    assert (found["x"].answer, found["x"].solution, found["x"].choices) == ("B", None, ("1", "2"))
    found, _ = intake(kind="conversations", path=path, columns={"answer": "gold"})
    assert (found["x"].answer, found["x"].solution) == ("C", "B")


def test_a_file_without_the_column_of_the_turns_says_so(intake: Intake, tmp_path: Path) -> None:
    path = lines(tmp_path, [{"id": "x", "messages": turns("What?", REPLY)}])
    with pytest.raises(
        UserError, match=r"no column 'conversations' for 'turns'.*'messages'.*columns: \{ours: theirs\}"
    ):
        intake(kind="conversations", path=path)


def test_a_folder_of_images_is_read_by_its_metadata(intake: Intake, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for name in ("a.png", "train/b.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture(len(name)))
    (folder / "metadata.csv").write_text('file_name,text,answer\na.png,"What, and ""how""?",007\ntrain/b.png,q,\n')
    columns = {"question": "text"}
    found, bad = intake(kind="image_folder", path=folder, columns=columns)
    assert bad == {1: "missing_value"} and found["a.png"].images == (picture(5),)
    assert (found["a.png"].question, found["a.png"].answer) == ('What, and "how"?', "007")
    # Names are relative to the metadata, also in a folder below.
    (folder / "train/metadata.jsonl").write_text('{"file_name": "b.png", "text": "q", "answer": 1, "nr": 7}\n')
    below = {"kind": "image_folder", "path": folder, "files": ["train/metadata.jsonl"]}
    found, bad = intake(**below, columns=columns | {"id": "nr"})
    assert found["7"].images == (picture(11),) and not bad
    with pytest.raises(UserError, match=r"both have image metadata: make each a source"):
        intake(kind="image_folder", path=folder, files=["*metadata.*"], columns=columns)
    with pytest.raises(UserError, match=r"no column 'file_name' for 'id'"):
        (folder / "metadata.csv").write_text("name,question,answer\na.png,q,1\n")
        intake(kind="image_folder", path=folder)
