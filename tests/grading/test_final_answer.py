"""Whole responses: where the final answer stands, and what it is. None of these texts is from a benchmark's answers."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmprm.data.problem import Problem
from mmprm.grading import Verdict, rules
from mmprm.grading.final_answer import FinalAnswer, read_final_answer

WITHOUT_ANSWER = ("none", "nothing", "evasive", "several", "unfinished", "withdrawn")
OPTIONS = ("10 cm", "20 cm", "30 cm", "40 cm")
LETTERS = "ABCD"


def target(gold: str, *choices: str, answer_type: str = "auto") -> rules.Target:
    return rules.target_of(Problem("p", "test", "", gold, choices=choices, answer_type=answer_type))


def chosen(response: str, *options: str) -> str | None:
    """The letters that a response is read as, None for none."""
    found = read_final_answer(target("B", *(options or OPTIONS)), response)
    return None if found.text is None else "".join(LETTERS[index] for index in sorted(found.options))


def right(response: str, gold: str, answer_type: str = "auto") -> bool:
    aim = target(gold, answer_type=answer_type)
    found = read_final_answer(aim, response)
    decided = rules.decide(aim, found.text) if found.text is not None else None
    return decided is not None and decided.verdict is Verdict.CORRECT


@pytest.mark.parametrize(
    "response",
    [
        "B",
        "(B)",
        "B.",
        "b)",
        "**B**",
        "B: 20 cm",
        "20 cm",
        "The answer is B because both sides are equal.",
        "The answer is B, not A.",
        "the answer is (b)",
        "**Answer:** (B)",
        "# Final Answer\n\nB",
        "The correct option is (B) 20 cm.",
        "Option B is correct.",
        "Therefore I choose B.",
        r"$\boxed{\textbf{(B) }20}$",
        "<think>The answer is A.</think>The answer is B.",
        "<answer>B</answer>",
        "The answer is A. No, wait: the answer is B.",
        "(A) is too short and (C) too long.\n\n(B)",
        "Halving 40 gives 20.\n\nTherefore, the side is 20 cm long.",
        "The answer is 20 cm, since it is half of 40 cm.",
        "答案是B",
        "因为两边相等，故选B。",
        "正确答案为（B）",
        "所以边长为20厘米。",
    ],
)
def test_an_option_is_found_in_a_response(response: str) -> None:
    assert chosen(response) == "B"


@pytest.mark.parametrize(
    "response", ["(A) or (B)", "The answer is A or B.", "A and B", r"\boxed{A, B}", "So: (A), (B)."]
)
def test_a_final_answer_that_names_two_letters_is_unparsed(response: str) -> None:
    assert read_final_answer(target("B", *OPTIONS), response) == FinalAnswer(None, "several")


def test_several_letters_are_an_answer_where_several_options_are_right() -> None:
    several = target("BD", *OPTIONS)
    assert read_final_answer(several, "The answer is B and D.").options == several.right


@pytest.mark.parametrize(
    "response",
    [
        "The image is not clear, so the question cannot be answered.",
        "The side is 25 cm. However, this is not among the options.",
        "I can't help with images of people yet.",
        "The answer is a triangle.",
        "Let A be the first vertex.",
    ],
)
def test_a_response_without_an_answer_is_unparsed_and_no_guess(response: str) -> None:
    assert chosen(response) is None


def test_options_that_are_letters_out_of_order_are_told_from_the_letters_of_the_options() -> None:
    assert chosen("(c)", "(c)", "(a)", "(b)") == "A"
    assert chosen("The answer is (C).", "(c)", "(a)", "(b)") == "C"


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("Therefore, the number of cats is less than the number of dogs.", "A"),
        ("Therefore, the number of cats is not less than the number of dogs.", "B"),
        ("So the number of cats is greater than the number of dogs.", "B"),
        ("No, there are more cats.", "B"),
        ("The answer is no, there are not fewer cats.", "B"),
        ("So it is a sunny day.", None),
    ],
)
def test_yes_or_no_is_read_from_what_a_conclusion_says_of_the_question(response: str, letter: str | None) -> None:
    polar = target("No", "Yes", "No")
    found = read_final_answer(polar, response, "Is the number of cats less than the number of dogs?")
    assert (None if found.text is None else LETTERS[min(found.options)]) == letter


@pytest.mark.parametrize(
    "response",
    [
        "12",
        "The answer is 12.",
        "Answer: 12 cm",
        "Answer\n\n12",
        "#### 12",
        r"\boxed{12}",
        "**Answer:** **12**",
        "Adding up, 3 + 9 = 12.",
        "There are **12** cats. They sit in 3 rows.",
        "So there are 12 streets with exactly 36 houses.",
        "The answer is 12 with a total of 40 points.",
        "So I took 9 first. Therefore the length is $12$ cm.\n\nI hope this helps! Let me know about the other 3.",
        "The total is **12**. This is more than the 7 of last year.",
        "The answer is 13. Actually, the answer is 12.",
        "<think>It is 13.</think><answer>12</answer>",
        "So\n$$x = 12$$",
        "一共有12个苹果。",
        "答案：12",
        "所以面积等于12平方厘米。",
    ],
)
def test_a_number_is_found_in_a_response(response: str) -> None:
    assert right(response, "12")


@pytest.mark.parametrize("response", ["The answer is 5 or 12.", "There are 12 + x of them.", "Not enough information."])
def test_what_does_not_state_the_number_is_not_right(response: str) -> None:
    assert not right(response, "12")


@given(st.integers(-(10**6), 10**6), st.sampled_from([r"\boxed{%s}", "The answer is %s.", "Answer: %s", "**%s**"]))
def test_the_last_of_several_statements_counts(value: int, form: str) -> None:
    first = form % (value + 1)
    assert right(f"{first}\n\nThat was wrong.\n\n{form % value}", str(value))
    assert not right(f"{form % value}\n\nThat was wrong.\n\n{first}", str(value))


@given(
    st.sampled_from("ABCD"),
    st.sampled_from(
        ["The answer is {}.", "({})", r"\boxed{{{}}}", "答案是{}", "Answer: {}", "**{}**", "so I choose {}"]
    ),
    st.sampled_from(["", "Let ABCD be a square. ", "The sides are 3 and 4.\n\n", "图中有一个角。"]),
)
def test_every_way_to_name_a_letter_is_read_behind_any_reasoning(letter: str, form: str, before: str) -> None:
    assert chosen(f"{before}\n{form.format(letter)}") == letter


def test_formulas_words_and_blanks_are_found_too() -> None:
    root = target(r"2\sqrt{3}")
    for response in (r"The length is $2\sqrt{3}$ cm.", r"\boxed{2\sqrt{3}}", r"So the answer is $2\sqrt{3}$."):
        assert read_final_answer(root, response).text == r"2\sqrt{3}", response
    for response in (
        "It is a rhombus.",
        r"\boxed{\text{rhombus}}",
        "The answer is a rhombus because it is.",
        "rhombus",
    ):
        assert right(response, "rhombus", answer_type="text"), response
    assert right("这是菱形", "菱形", answer_type="text")
    assert read_final_answer(target("3\n4"), r"First \boxed{3}, then \boxed{4}.").text == "3\n4"


LONG = [
    "answer is ",
    "(A), ",
    "A or ",
    "9,",
    "is 1 ",
    "So ",
    "**a",
    "\\boxed{",
    "{",
    "<answer>",
    "not in the ",
    "more a b ",
    "the answer to the question ",
    "答案是",
    "1+",
    "\n",
]


@pytest.mark.parametrize("piece", LONG)
def test_no_response_takes_long_to_read(piece: str) -> None:
    for aim in (target("12"), target("B", *OPTIONS), target("x+1"), target("No", "Yes", "No")):
        start = time.process_time()
        found = read_final_answer(aim, piece * 6000, "Is it?")
        if found.text is not None and not found.options:
            rules.decide(aim, found.text)
        assert time.process_time() - start < 60  # a guard: a pattern that is not linear takes minutes


@given(st.text(max_size=200) | st.lists(st.sampled_from([*LONG, "12", ". ", "B", "$"]), max_size=12).map("".join))
def test_reading_never_fails(text: str) -> None:
    for aim in (target("12"), target("B", *OPTIONS), target("x+1"), target("rhombus", answer_type="text")):
        found = read_final_answer(aim, text, "Is it?")
        assert (found.text is None) == (found.how in WITHOUT_ANSWER)
