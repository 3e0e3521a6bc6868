"""Options in every form that people have, and gold answers that are one of them, or are refused."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from table_pictures import picture

from mmprm.data.problem import Problem
from mmprm.grading import Verdict, grade
from mmprm.problems.choices import choices_of, gold_of
from mmprm.problems.refusals import RowRefusedError
from mmprm.problems.try_data import try_data

FRUIT = ("plum", "fig, dried", "pear")
FORMS: list[Any] = [
    list(FRUIT),
    '["plum", "fig, dried", "pear"]',
    "['plum', 'fig, dried', 'pear']",
    "('plum', 'fig, dried', 'pear')",
    "A. plum; B. fig, dried; C. pear",
    "A. plum;B. fig, dried;C. pear;",
    "(A) plum\n(B) fig, dried\n(C) pear",
    "A、plum B、fig, dried C、pear",
    ["A. plum", "B. fig, dried", "C. pear"],
    ["(A) plum", "(B) fig, dried", "(C) pear"],
    {"A": "plum", "B": "fig, dried", "C": "pear", "D": None},
    {"label": ["A", "B", "C"], "text": list(FRUIT)},
    {"label": ["1", "2", "3"], "text": list(FRUIT)},
    [{"label": letter, "text": text} for letter, text in zip("ABC", FRUIT, strict=True)],
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_options_are_read_from_every_form_without_their_letters(form: Any) -> None:
    assert choices_of(form) == FRUIT


@pytest.mark.parametrize("form", [None, "", "  ", []])
def test_no_options_are_none(form: Any) -> None:
    assert choices_of(form) == ()


@pytest.mark.parametrize(
    "form",
    [
        "plum or fig",
        "B. plum; A. fig",
        {"A": "plum", "C": "fig"},
        {"label": ["A"], "text": ["a", "b"]},
        ["plum", None],
        ["plum", True],
        ["a"] * 27,
        "[" * 50_000,
        {"x": 1},
        17,
    ],
    ids=lambda form: str(form)[:30],
)
def test_what_is_no_list_of_options_is_refused(form: Any) -> None:
    with pytest.raises(RowRefusedError):
        choices_of(form)


def test_a_letter_that_only_one_option_begins_with_is_its_own() -> None:
    assert choices_of(["A. Smith", "B. Jones", "none of them"]) == ("A. Smith", "B. Jones", "none of them")
    assert choices_of(["A", "B"]) == ("A", "B")


TEN = ("10", "20", "30")


@pytest.mark.parametrize(
    ("answer", "given_as", "options", "answer_is", "gold"),
    [
        ("B", "B", TEN, None, "B"),
        ("b", "b", TEN, None, "b"),
        ("(C)", "(C)", TEN, None, "(C)"),
        ("20", 20, TEN, None, "20"),
        ("20.0", 20.0, TEN, None, "20.0"),
        ("B. 20", "B. 20", TEN, None, "B"),
        ("(B) 20", "(B) 20", TEN, None, "B"),
        ("A, C", "A, C", TEN, None, "A, C"),
        ("1", 1, TEN, "index", "B"),
        ("1", "1", TEN, "index", "B"),
        ("2", 2, ("1", "2", "3"), "value", "2"),
        ("2", 2, ("1", "2", "3"), "index", "C"),
        ("2", "2", ("1", "2", "3"), None, "2"),  # a text is no index
        ("B", "B", ("B", "C", "none"), "letter", "C"),  # whose text is the letter of another
        ("A", "A", ("A", "B", "C"), None, "A"),
        ("fig", "fig", ("plum", "fig"), None, "fig"),
    ],
)
def test_a_gold_answer_that_is_an_option_is_taken(
    answer: str, given_as: Any, options: tuple[str, ...], answer_is: str | None, gold: str
) -> None:
    assert gold_of(answer, given_as, options, answer_is) == gold


@pytest.mark.parametrize(
    ("answer", "given_as", "options", "answer_is", "says"),
    [
        ("E", "E", TEN, None, "none of the choices"),
        ("25", 25, TEN, None, "none of the choices"),
        ("B. 30", "B. 30", TEN, None, "none of the choices"),
        ("1", 1, TEN, None, "set `answer_is: index`"),
        ("2", 2, ("1", "2", "3"), None, "`answer_is: value` or `answer_is: index`"),
        ("B", "B", ("B", "C", "none"), None, "`answer_is: value` or `answer_is: letter`"),
        ("3", 3, TEN, "index", "no index from 0 to 2"),
        ("plum", "plum", ("plum", "fig"), "letter", "none of the choices"),
    ],
)
def test_a_gold_answer_that_is_none_or_may_be_two_is_refused(
    answer: str, given_as: Any, options: tuple[str, ...], answer_is: str | None, says: str
) -> None:
    with pytest.raises(RowRefusedError, match=says):
        gold_of(answer, given_as, options, answer_is)


@given(
    st.integers(0, 3),
    st.lists(st.sampled_from(["A", "B", "C", "D", "E", "7", "none"]), min_size=4, max_size=4, unique=True),
)
def test_the_letter_of_the_gold_answer_is_graded_right_and_no_other(index: int, options: list[str]) -> None:
    letter = "ABCD"[index]
    problem = Problem("p", "s", "Which?", gold_of(letter, letter, tuple(options), "letter"), choices=tuple(options))
    if set(options) <= set("ABCDE"):
        return  # letters that are drawn in the picture, in any order
    verdicts = {other: grade(other, problem).verdict for other in "ABCD"}
    assert {other for other, verdict in verdicts.items() if verdict is Verdict.CORRECT} == {letter}


def test_choices_with_a_column_each_are_read_with_their_pictures_in_base64(intake: Any, tmp_path: Path) -> None:
    """As MMBench publishes them: a TSV file with the columns A to D and base64 pictures."""
    lines = ["index\tquestion\thint\tA\tB\tC\tD\tanswer\tcategory\timage"]
    shown = base64.b64encode(picture()).decode()
    lines.append(f"1\tWhich is wider?\t\tthe left\tthe right\t\t\tB\tspatial\t{shown}")
    lines.append(f"2\tHow many?\t\t1\t2\t3\t4\tE\tcounting\t{shown}")
    (tmp_path / "t.tsv").write_text("\n".join(lines) + "\n")
    columns = {"id": "index", "choices": "A,B,C,D", "family": "category"}
    problems, bad = intake(kind="table", path=tmp_path / "t.tsv", columns=columns)
    assert problems["1"].choices == ("the left", "the right") and problems["1"].family == "spatial"
    assert problems["1"].images == (picture(),) and bad == {1: "bad_value"}
    text = try_data(tmp_path / "t.tsv", None, None, {}, 2)
    assert "(A) the left  (B) the right" in text and "1 of 2 rows are taken" in text
