"""Which answers can be verified: right by the grader themselves, and changed ones wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmprm.curation.verifiable import check
from mmprm.data.problem import Problem
from mmprm.grading import Verdict, grade


def gold(answer: str, question: str = "What is it?", **fields: object) -> Problem:
    return Problem("p", "pool", question, answer, **fields)


PLAIN = [
    "12",
    "$$\\frac{4}{49}$$.",
    "$2\\sqrt{6}$",
    "=",
    "2:3",
    "Jia",
    "a rhombus",
    "36°",
    "1.2.4.",
    "12 square metres",
]
SEVERAL = ["(3,6)\n(7,8)", "7\n25\nacute\n8\n5", "(1)$$3$$,$$1$$,$$6$$ (2)$$79$$"]


@pytest.mark.parametrize("answer", [*PLAIN, *SEVERAL, "$$\\hat {y}=10.25-1.05x$$", "$$M\\in FH$$"])
def test_real_answers_and_several_blanks_can_be_verified(answer: str) -> None:
    checked = check(gold(answer), 3)
    assert checked.fault is None
    assert checked.wrong
    for wrong in checked.wrong:
        assert grade(wrong, gold(answer)).verdict is not Verdict.CORRECT, wrong
    assert grade(answer, gold(answer)).verdict is Verdict.CORRECT


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("", "there is no answer"),
        ("$ . $", "there is no answer"),
        ("$$BD=CE$$ (not unique)", "one of several"),
        ("答案不唯一", "one of several"),
        ("∵∠BAC=∠DAE ∴△ABD≌△ACE ∴BD=CE=7cm. Therefore, fill in 7.", "an explanation"),
        ("The stability of triangles is used", "a text of 6 words"),
        (
            "(1) The stability of triangles and the instability of quadrilaterals (2) \\dfrac{8}{15}",
            "a text of 9 words",
        ),
        ("x + 1 " * 80, "more than is ever compared"),
    ],
)
def test_what_is_no_answer_of_its_own_cannot(answer: str, why: str) -> None:
    fault = check(gold(answer), 3).fault
    assert fault is not None and why in fault


def test_words_are_answers_only_as_far_as_the_setting_allows() -> None:
    assert check(gold("right triangle"), 2).fault is None
    assert check(gold("right triangle"), 1).fault == "its answer is a text of 2 words"
    assert check(gold("rhombus"), 0).fault is not None


def test_of_choices_other_options_must_be_wrong() -> None:
    asked = "Which is it? A. 2 B. 3 C. 4 D. 5"
    checked = check(gold("B", asked), 3)
    assert (checked.kind, checked.gold, checked.wrong) == ("choice", "3", ("A", "C"))


def test_two_options_of_one_text_still_are_told_apart_by_their_letters() -> None:
    assert check(gold("B", choices=("2", "3", "3.0")), 3).fault is None


@given(st.integers(-10_000, 10_000), st.integers(1, 99), st.sampled_from(["{}", "{}/{}", "{}.{}", "${}$ cm", "{}\\%"]))
def test_changed_numbers_are_always_wrong(value: int, other: int, form: str) -> None:
    answer = form.format(value, other)
    checked = check(gold(answer), 3)
    assert checked.fault is None
    assert [wrong for wrong in checked.wrong if grade(wrong, gold(answer)).verdict is Verdict.CORRECT] == []


@given(st.lists(st.integers(0, 999), min_size=2, max_size=4))
def test_each_blank_counts(values: list[int]) -> None:
    answer = "\n".join(map(str, values))
    checked = check(gold(answer), 3)
    assert (checked.kind, checked.n_parts, len(checked.wrong)) == ("several", len(values), len(values))
    assert all(grade(wrong, gold(answer)).verdict is Verdict.INCORRECT for wrong in checked.wrong)
