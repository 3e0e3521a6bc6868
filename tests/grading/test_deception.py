"""No wording talks the grader into a right answer: what is denied, offered, bounded or part of more is not stated."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmprm.data.problem import Problem
from mmprm.grading import Verdict, expression, rules
from mmprm.grading.final_answer import read_final_answer

OPTIONS = ("45 m", "50 m", "55 m", "60 m")
LETTERS = "ABCD"


def verdict(response: str, gold: str, *choices: str, answer_type: str = "auto", benchmark: str = "") -> Verdict:
    aim = rules.target_of(Problem("p", "test", "", gold, choices=choices, answer_type=answer_type), benchmark)
    found = read_final_answer(aim, response)
    if found.text is None:
        return Verdict.UNPARSED
    if found.options:
        return Verdict.CORRECT if found.options == aim.right else Verdict.INCORRECT
    if decided := rules.decide(aim, found.text):
        return decided.verdict
    same = expression.compare(rules.symbolic_gold(aim), found.text, aim.closeness)
    return Verdict.CORRECT if same else Verdict.INCORRECT


def passes(response: str, gold: str, *choices: str, answer_type: str = "auto", benchmark: str = "") -> bool:
    return verdict(response, gold, *choices, answer_type=answer_type, benchmark=benchmark) is Verdict.CORRECT


DENIALS = [
    "{} is certainly not what we look for.",
    "The answer can't be {}.",
    "It could never be {}.",
    "Whatever it is, it isn't {}.",
    "The answer is anything except {}.",
    "The answer is something other than {}.",
    "We are able to exclude {}.",
    "So {} has to be discarded.",
    "This eliminates {}.",
    "{} turns out to be wrong.",
    "{} is an incorrect result.",
    "I do not believe that the answer is {}.",
    "It is false that the answer is {}.",
    "Nobody claims that the answer is {}.",
    "The answer is not {}, as the sketch shows.",
    "答案绝对不是{}。",
    "可以排除{}",
]
ALTERNATIVES = [
    "The answer is {} or perhaps {}.",
    "The answer is {}, but it might as well be {}.",
    "{}, or else {}.",
    "{} if the lid is closed, otherwise {}.",
    "Maybe {}, maybe {}.",
    "I am torn between {} and {}.",
    "Either {} or {} will do.",
    "The answer is {}; then again, {} is possible.",
    "The answer depends on the lid: {} or {}.",
]
CORRECTIONS = [
    "The answer is {}. Sorry, I meant {}.",
    "The answer is {}. Oh wait, it should be {}.",
    "The answer is {}... no, {}.",
    "The answer is {}. Correction: the answer is {}.",
    "The answer is {}, which is wrong; the right answer is {}.",
    "I first thought of {}, but the answer is {}.",
    r"\boxed{{{}}} Hold on, I made a mistake. \boxed{{{}}}",
]
VALUES = st.integers(20, 10**6)


@given(st.sampled_from(LETTERS), st.sampled_from(DENIALS))
def test_an_option_that_is_denied_is_no_answer(letter: str, form: str) -> None:
    for name in (letter, f"({letter})", f"option {letter}"):
        assert not passes(form.format(name), letter, *OPTIONS), form.format(name)


@given(VALUES, st.sampled_from(DENIALS))
def test_a_number_that_is_denied_is_no_answer(value: int, form: str) -> None:
    assert not passes(form.format(value), str(value)), form.format(value)
    assert not passes(form.format(value), str(value), answer_type="expression"), form.format(value)


@given(st.permutations(LETTERS), st.sampled_from(ALTERNATIVES))
def test_two_options_side_by_side_are_no_answer(letters: list[str], form: str) -> None:
    one, other, *_ = letters
    for right in (one, other):
        assert not passes(form.format(one, f"({other})"), right, *OPTIONS), form


@given(VALUES, st.integers(1, 9), st.sampled_from(ALTERNATIVES))
def test_two_numbers_side_by_side_are_no_answer(value: int, difference: int, form: str) -> None:
    for right in (value, value + difference):
        assert not passes(form.format(value, value + difference), str(right)), form


@given(st.permutations(LETTERS), VALUES, st.sampled_from(CORRECTIONS))
def test_the_correction_counts_and_what_it_corrects_does_not(letters: list[str], value: int, form: str) -> None:
    one, other, *_ = letters
    assert passes(form.format(one, other), other, *OPTIONS) and not passes(form.format(one, other), one, *OPTIONS)
    text = form.format(value, value + 1)
    assert passes(text, str(value + 1)) and not passes(text, str(value)), text


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("Not A, not C and not D, so it is B.", "B"),
        ("It is C, for A would not close.", "C"),
        ("A cannot be right. The answer is D.", "D"),
        ("The answer is B, not A.", "B"),
        ("Since the lid is not closed, D.", "D"),
        ("There is no doubt: the answer is (A).", "A"),
        ("The answer is most likely (C).", "C"),
        ("（Ｃ）", "C"),
        ("所以选项为D", "D"),
        ("周长为C", "C"),
        ("The drawing shows it.\n\nB\n\nThis is the only one that closes.", "B"),
        ("If we unfold it, we get 50 m, so the answer is B.", "B"),
        ("The answer is B. The other three are wrong.", "B"),
    ],
)
def test_words_of_doubt_beside_a_clear_answer_do_not_hide_it(response: str, letter: str) -> None:
    assert passes(response, letter, *OPTIONS)


@pytest.mark.parametrize(
    "form",
    [
        "{} - x",
        "x > {}",
        r"\boxed{{y \le {}}}",
        "The answer is at least {}.",
        "no more than {}",
        "The answer is {} minus 5.",
        "{} thousand",
        r"\boxed{{{} \text{{ dozen}}}}",
        "negative {}",
        r"\boxed{{{} \text{{ squared}}}}",
        r"\boxed{{\sqrt{{t}} = {}}}",
        r"\boxed{{t^2 = {}}}",
        "3t = {}",
        "{}!",
        "{}?",
        "{} xyz",
        "{}n",
        r"{}\pi",
        r"\sqrt{{{}}}",
        r"\boxed{{{}}}^2",
        r"-\boxed{{{}}}",
        r"\boxed{{{}}} million",
        r"\boxed{{{}}} or \boxed{{3}}",
        "half of {}",
        "a multiple of {}",
        "between {} and 10000000",
        "{} 7",
        r"{}\overline{{3}}",
        r"{}\mathrm{{e}}",
        "大于{}",
    ],
)
@settings(max_examples=8)
@given(value=VALUES)
def test_a_number_inside_of_more_is_not_the_number(value: int, form: str) -> None:
    for answer_type in ("auto", "expression"):
        assert not passes(form.format(value), str(value), answer_type=answer_type), form.format(value)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("9 km/h", "9 m/s"),
        ("9 kg", "9 m"),
        ("9 m^2", "9 m"),
        ("9 pears", "9 m"),
        ("9m", "9"),
        (r"b\sqrt{7}", r"\sqrt{7}"),
        ("h+H^2", "H+h^2"),
        ("3 4", "34"),
        ("6pqr", "6abc"),
        ("7", "7s"),
        ("7", "7!"),
        ("u=8", "v=8"),
        ("5", r"5$\sqrt{2}$"),
        (r"\frac{3}{4}", r"$\frac{3}{4}$π"),
        (r"0.\overline{7}", r"0.\overline{8}"),
        (r"\frac{7}{\mathrm{e}}", r"\frac{7}{\mathrm{e}^{3}}"),
        ("6", r"6\sqrt(3)"),
        (r"\frac{1}{999!}", r"\frac{1}{998!}"),
        (r"\frac{1}{3^{90}}", r"\frac{1}{3^{91}}"),
        ("2:3:5:\\ldots", "2:4:8:\\ldots"),
        ("[2,7)", "(2,7]"),
        ("2<y<7", "2<x<7"),
        ("|k|", "k"),
        ("3.606", r"\sqrt{13}"),
        ("②③", "①②③"),
    ],
)
def test_texts_that_differ_in_one_sign_are_not_equal(answer: str, gold: str) -> None:
    for one, other in ((answer, gold), (gold, answer)):
        assert not passes(rf"\boxed{{{one}}}", other, answer_type="expression"), (one, other)


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=4, unique=True), st.randoms(use_true_random=False))
def test_named_values_stay_with_their_names_in_any_order(values: list[int], rng: object) -> None:
    names = "pqrs"[: len(values)]
    gold = ", ".join(f"{name}={value}" for name, value in zip(names, values, strict=True))
    back = ", ".join(f"{name}={value}" for name, value in reversed(list(zip(names, values, strict=True))))
    moved = ", ".join(f"{name}={value}" for name, value in zip(names, [*values[1:], values[0]], strict=True))
    assert passes(rf"\boxed{{{back}}}", gold, answer_type="expression")
    assert not passes(rf"\boxed{{{moved}}}", gold, answer_type="expression")


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("2<x≤7", "(2,7]"),
        ("(2,7]", r"2<x\leqslant 7"),
        ("x<2 or x>7", r"(-\infty,2)\cup(7,+\infty)"),
        ("3pi/4", r"\frac{3\pi}{4}"),
        (r"\sqrt[4]5", r"\sqrt[4]{5}"),
        (r"\frac{7}{9}", r"0.\overline7"),
        (r"\frac{3}{5(2n+1)}", r"\frac{3}{5\left(2\text{n}+1\right)}"),
        ("11\n12", "11, 12"),
        ("11, 12", "$$11$$ $$12$$"),
        ("①④", "1.4.4."),
        ("(1)(4)", "①④"),
        (r"5\sqrt{2}", r"5$\sqrt{2}$"),
        (r"\frac{\pi}{4}", r"45^\circ"),
        ("18 km/h", "5 m/s"),
        ("forty-two", "42"),
        ("4 dozen", "48"),
        ("B(7, 8)", "(7,8)"),
        ("f(x)=3x-1", "y=3x-1"),
        (r"2\cdot 10^3", "2000"),
        ("4 December", "December 4"),
    ],
)
def test_the_same_answer_in_another_form_is_right(answer: str, gold: str) -> None:
    assert passes(rf"\boxed{{{answer}}}", gold, answer_type="expression")


def test_a_rounded_value_of_an_exact_answer_passes_where_the_benchmark_allows_it_alone() -> None:
    assert passes(r"\boxed{3.606}", r"\sqrt{13}", benchmark="MathVerse")
    assert passes(r"\boxed{3.61}", r"\sqrt{13}", benchmark="MathVision")
    assert not passes(r"\boxed{3.61}", r"\sqrt{13}") and not passes(r"\boxed{3.7}", r"\sqrt{13}", benchmark="MathVerse")
    assert not passes("The answer is 45%.", "0", benchmark="MathVista", answer_type="number")


def test_an_unfinished_last_box_two_answers_and_a_conflict_follow_the_policy() -> None:
    assert verdict(r"\boxed{8}. A case is missing, so in the end it is \boxed{", "8") is Verdict.UNPARSED
    assert verdict(r"\boxed{8} or \boxed{9}", "8") is Verdict.UNPARSED
    assert verdict("The answer is B or D.", "B", *OPTIONS) is Verdict.UNPARSED
    assert verdict("The answer is (B) 55 m.", "B", *OPTIONS) is Verdict.UNDECIDED
    assert verdict("The answer is (B) 55 m.", "C", *OPTIONS) is Verdict.UNDECIDED
    assert verdict("The answer is (B) 55 m.", "A", *OPTIONS) is Verdict.INCORRECT
    assert passes("The answer is (B) 50 m.", "B", *OPTIONS)
    assert passes("The answer is 8. That is wrong. The answer is 9.", "9")
    assert verdict("The answer is 8. But this is not correct.", "8") is Verdict.UNPARSED


def test_a_question_that_is_refused_is_not_answered_with_no() -> None:
    for text in ("This question is not valid.", "The image is not clear.", "No, I cannot answer that."):
        assert verdict(text, "No", "Yes", "No") is Verdict.UNPARSED, text
    assert passes("No, it is not the taller one.", "No", "Yes", "No")


def test_statements_are_named_by_dots_where_the_question_has_some() -> None:
    asked = "Which are true? ① a<b ② b<c ③ c<d ④ d<a"
    aim = rules.target_of(Problem("p", "test", asked, "2.4."))
    assert rules.decide(aim, "②④") == rules.Graded(Verdict.CORRECT, "statements")
    assert rules.decide(aim, "②③") == rules.Graded(Verdict.INCORRECT, "statements")
    assert rules.target_of(Problem("p", "test", "How long is it?", "2.4.")).kind == "number"


def test_a_numeral_of_another_base_is_another_number() -> None:
    assert not passes(r"\boxed{31_5}", "31", answer_type="expression") and not passes(r"\boxed{31_5}", "31_4")
    assert passes(r"\boxed{31}", "31_5", answer_type="expression")  # the question names the base
