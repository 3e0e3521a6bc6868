"""Gold answers as tables hold them: alternatives, letters with texts, fractions over two blanks, 32-bit floats."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmprm.data.problem import Problem
from mmprm.grading import Verdict, grade
from mmprm.grading.gold import alternatives, shortest


def verdicts(gold: str, *answers: str, **fields: object) -> list[bool]:
    problem = Problem("p", "s", "What is it?", gold, **fields)  # type: ignore[arg-type]
    return [grade(answer, problem).verdict is Verdict.CORRECT for answer in answers]


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        ("$$\\dfrac{7}{4}$$ (or fill in $$1.75$$)", ["1.75", "7/4", "\\frac{7}{4}"], ["1.7", "4/7"]),
        ("0.5 or 1/2", ["0.5", "\\frac{1}{2}"], ["0.2"]),
        ("$AB=CD$ or $\\angle A=\\angle C$", ["\\angle A = \\angle C", "AB=CD"], ["AB = AC"]),
        ("x = 1 or x = 3", ["1 or 3"], ["1", "x = 3"]),  # two values of one unknown
        ("4\n7\n1\n3", ["4/7, 1/3", "$\\frac{4}{7}$ and $\\frac{1}{3}$"], ["4/7", "4/7, 1/2", "7/4, 1/3"]),
    ],
)
def test_what_a_gold_answer_says_twice_is_right_once(gold: str, right: list[str], wrong: list[str]) -> None:
    assert verdicts(gold, *right, *wrong) == [True] * len(right) + [False] * len(wrong)


def test_a_letter_with_its_text_is_a_gold_answer() -> None:
    assert verdicts("B. 20", "B", "20", "A", choices=("10", "20")) == [True, True, False]


def test_a_letter_is_the_shown_one_where_another_option_has_it_for_a_text() -> None:
    assert verdicts("C", "B", "A", choices=("B", "C", "none of them")) == [True, False]


@given(st.floats(min_value=-1e6, max_value=1e6, allow_nan=False).map(lambda x: round(x, 3)))
def test_a_float_of_32_bits_is_the_number_that_was_written(value: float) -> None:
    written = float(f"{value:.6g}")  # as many digits as 32 bits hold
    widened = repr(struct.unpack("f", struct.pack("f", written))[0])
    if "e" not in widened and len(widened.partition(".")[2]) >= 10:
        assert float(shortest(widened)) == written


@pytest.mark.parametrize("gold", ["3.1415926535", "0.3333333333", "2.718281828459045", "12", "1.5", "x"])
def test_decimals_that_are_no_32_bit_floats_stay(gold: str) -> None:
    assert shortest(gold) == gold


@pytest.mark.parametrize("gold", ["red or blue", "for 3 or more", "orange", "x = 1 or x = 2", "1 or 2", "a or"])
def test_words_and_several_values_are_one_answer(gold: str) -> None:
    assert alternatives(gold) == (gold,)
