"""The benchmarks' own rules: precision, cut integers, tolerances, units, several answers, the nearest option."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmprm.data.problem import Problem
from mmprm.grading import Verdict, benchmark_rules, expression, rules
from mmprm.grading.benchmark_rules import edit_distance


def right(answer: str, gold: str, answer_type: str = "auto", benchmark: str = "", **rule: Any) -> bool:
    target = rules.target_of(Problem("p", "test", "", gold, answer_type=answer_type, **rule), benchmark)
    decided = rules.decide(target, answer)
    if decided is not None:
        return decided.verdict is Verdict.CORRECT
    return bool(expression.compare(rules.symbolic_gold(target), answer, target.closeness))


def test_mathvista_cuts_integers_and_rounds_floats_to_the_problems_precision() -> None:
    assert right("15.44", "15", benchmark="MathVista") and not right("15.44", "15")
    assert right("15.44", "15", "integer") and right("-15.44", "-15", "integer") and not right("16", "15", "integer")
    assert right("3.94", "3.9", precision=1, benchmark="mathvista")
    assert not right("3.96", "3.9", precision=1, benchmark="mathvista")
    assert right("1414", "1414", benchmark="mathvista") and not right("14", "15", benchmark="mathvista")


def test_mathvision_compares_at_two_decimals() -> None:
    assert right(r"\frac{1}{3}", "0.33", benchmark="mathvision")
    assert right("0.333", r"\frac{1}{3}", benchmark="MATH-Vision")
    assert right("3.46", r"2\sqrt{3}", benchmark="mathvision") and not right("3.46", r"2\sqrt{3}")
    assert not right("3.4", r"2\sqrt{3}", benchmark="mathvision")


def test_olympiadbench_has_a_tolerance_for_each_answer() -> None:
    tolerance = (0.1, 0.01)
    assert right("2.78, 3.14", "2.7, 3.14", tolerance=tolerance)
    assert right("3.14, 2.78", "2.7, 3.14", tolerance=tolerance)  # in any order
    assert not right("2.7, 3.24", "2.7, 3.14", tolerance=tolerance)
    assert right("3.1416", r"\pi", tolerance=(0.001,)) and not right("3.15", r"\pi", tolerance=(0.001,))
    assert not right("3.1416", r"\pi", benchmark="OlympiadBench")  # 1e-8 where none is stated


@given(st.fractions(max_denominator=1000), st.fractions(0, 1, max_denominator=1000))
def test_a_tolerance_is_a_distance_either_way(gold: Fraction, tolerance: Fraction) -> None:
    near = benchmark_rules.closeness_of("", tolerances=(tolerance,)).near
    assert near(gold, gold + tolerance) and near(gold, gold - tolerance)
    assert not near(gold, gold + 2 * tolerance + Fraction(1, 100))


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("2, -2", r"\pm 2"),
        (r"x = \pm 2", "2, -2"),
        ("[1, 2)", "[1,2)"),
        (r"(-\infty, 1) \cup (2, +\infty)", r"(-\infty,1)\cup(2,\infty)"),
        ("(3, 4)", "(3,4)"),
        ("2x + 2y = 2", "x+y=1"),
        (r"n(n-1)", "n^2-n"),
        (r"\ln \sqrt{2}", r"\frac{1}{2}\ln 2"),
        ("y = 1 + 2x", "y=2x+1"),
    ],
)
def test_signs_intervals_tuples_and_equations_are_compared_as_such(answer: str, gold: str) -> None:
    assert right(answer, gold, "expression")


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("(4, 3)", "(3,4)"),
        ("(1, 2)", "(1,2]"),
        ("x + 2y = 1", "x+y=1"),
        ("2", r"\pm 2"),
        ("x^2", "x^3"),
        (r"\sqrt{3}", "1.7"),
        ("[2010, 2012]", "[2014, 2016]"),
    ],
)
def test_other_intervals_tuples_and_equations_are_wrong(answer: str, gold: str) -> None:
    assert not right(answer, gold, "expression")


def test_units_are_converted_and_may_be_stated_apart() -> None:
    assert (
        right("1 kg", "1000", unit="g") and right("1000", "1000", unit="g") and not right("1000 kg", "1000", unit="g")
    )
    assert right("1 m^2", "10000 cm^2") and not right("1 m^2", "100 cm^2") and not right("1 m", "100 cm^2")
    assert right("8 years", "8", unit="years")
    assert right("12 平方厘米", "12 cm^2") and not right("12 米", "12 cm")
    assert right("0.4", "40", unit="%") and not right("0.4", "40")


@given(st.integers(1, 1000), st.sampled_from([("m", "cm", 100), ("kg", "g", 1000), ("h", "min", 60), ("ft", "in", 12)]))
def test_a_quantity_is_the_same_in_a_smaller_unit(value: int, units: tuple[str, str, int]) -> None:
    large, small, factor = units
    assert right(f"{value * factor} {small}", f"{value} {large}")
    assert right(f"{value} {large}", f"{value * factor} {small}")
    assert not right(f"{value} {small}", f"{value} {large}")


def test_the_nearest_option_is_mathvistas_for_an_answer_that_names_none() -> None:
    assert benchmark_rules.nearest_option(("Yes", "No"), None, "The question cannot be answered.") == 0
    assert benchmark_rules.nearest_option(("Yes", "No"), None, "I am not sure.") == 1  # N/A shares its N
    assert benchmark_rules.nearest_option(("7.5", "8", "8.5", "17"), "11.5", "") == 0


@given(st.text(max_size=12), st.text(max_size=12), st.text(max_size=12))
def test_the_edit_distance_is_a_metric(one: str, two: str, three: str) -> None:
    assert (edit_distance(one, two) == 0) == (one == two)
    assert edit_distance(one, two) == edit_distance(two, one)
    assert edit_distance(one, three) <= edit_distance(one, two) + edit_distance(two, three)
    assert edit_distance("kitten", "sitting") == 3
