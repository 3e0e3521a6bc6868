"""The truth of steps of mini solutions: what is right, each sort of error, and what cannot be read."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmprm.data.problem import Problem
from mmprm.mini.families import apply
from mmprm.mini.problems import FAMILIES, draw_task, generate
from mmprm.mini.statements import solve, wrong_operation_for, wrong_value
from mmprm.mini.truth import Truth, figure_of, make_figure, so_far
from mmprm.model.step_text import parse

# (A + B) * C with A = 2, B = 3, C = 4: 20.
FIGURE = make_figure({"A": 2, "B": 3, "C": 4}, FAMILIES["bars"].questions["Find (A + B) * C."])


def truths(*steps: str) -> list[tuple[str, str | None]]:
    return [(str(one.truth), one.error) for one in FIGURE.judge(steps)]


def test_both_routes_and_their_wordings_are_right() -> None:
    right = ("right", None)
    steps = ("read A = 2", "B is 3", "so s = A + B = 2 + 3 = 5", "C = 4", "answer = s * C = 5 * 4 = 20")
    assert truths(*steps, "the answer is 20", "the result is 20", "s = 5", "answer is 20") == [right] * 9
    assert truths("we get q = C * B = 4 * 3 = 12", "p = A * C = 2 * 4 = 8", "then answer = p + q = 8 + 12 = 20") == (
        [right] * 3
    )


def test_the_values_of_a_sum_or_product_may_stand_in_either_order() -> None:
    assert truths("s = A + B = 3 + 2 = 5", "answer = s * C = 4 * 5 = 20") == [("right", None)] * 2


def test_a_way_that_no_route_writes_down_is_right_where_it_means_the_same() -> None:
    # A * C + A * C is no part of a way; 2 * C is A * C in this figure, but not in others.
    assert truths("p = A * C = 2 * 4 = 8", "t = 2 * C = 2 * 4 = 8") == [("right", None), ("wrong", "plan")]
    rectangle = make_figure({"width": 5, "height": 6}, FAMILIES["rectangle"].questions["Find the perimeter."])
    steps = ["s = width + height = 5 + 6 = 11", "answer = s + s = 11 + 11 = 22"]
    assert [one.truth for one in rectangle.judge(steps)] == ["right", "right"]


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("A = 3", "reading"),
        ("width = 3", "quantity"),  # not in this figure
        ("q = 12", "quantity"),  # never made
        ("s = A + q = 2 + 3 = 5", "quantity"),
        ("s = A + B = 2 + 4 = 6", "values"),
        ("s = A + B = 2 * 3 = 6", "values"),
        ("s = A - B = 3 - 2 = 1", "values"),
        ("s = A + B = 2 + 3 = 6", "arithmetic"),
        ("s = A * B = 2 * 3 = 6", "plan"),
        ("answer = A + B = 2 + 3 = 5", "plan"),
        ("A = A + B = 2 + 3 = 5", "plan"),
        ("the answer is 21", "result"),
        ("answer = 21", "result"),
    ],
)
def test_each_sort_of_error_is_told(step: str, error: str) -> None:
    assert truths(step) == [("wrong", error)]


@pytest.mark.parametrize(
    "step", ["", "hello", "5 + 3 = 8", "the sum is 5", "z = A + B = 2 + 3 = 5", "s = A + B = 5", "A = 2 B = 3"]
)
def test_other_words_are_unreadable_and_never_right_or_wrong(step: str) -> None:
    assert truths(step) == [("unreadable", None)]


def test_what_follows_from_an_error_is_wrong_by_the_figure() -> None:
    """The quantity keeps its true value: who uses the wrong one is wrong, who uses the true one is right."""
    wrong = "s = A + B = 2 + 3 = 6"
    assert truths(wrong, "answer = s * C = 6 * 4 = 24") == [("wrong", "arithmetic"), ("wrong", "values")]
    assert truths(wrong, "answer = s * C = 5 * 4 = 20") == [("wrong", "arithmetic"), ("right", None)]
    assert truths("s = A + q = 2 + 3 = 5", "answer = s * C = 5 * 4 = 20")[1] == ("wrong", "quantity")


def test_a_prefix_is_wrong_from_its_first_wrong_step_on() -> None:
    judged = FIGURE.judge(["A = 2", "what?", "B = 3", "C = 5", "A = 2"])
    assert so_far(judged) == [Truth.RIGHT, Truth.UNREADABLE, Truth.UNREADABLE, Truth.WRONG, Truth.WRONG]


@given(st.sampled_from(sorted(FAMILIES)), st.integers(0, 10_000))
def test_every_right_solution_is_right_and_every_wrong_statement_in_it_is_found(family: str, seed: int) -> None:
    rng = random.Random(seed)
    task = draw_task(family, "sft", rng)
    figure = make_figure(task.readings, task.routes)
    steps, answer = solve(task, rng)
    assert {one.truth for one in figure.judge(steps)} == {Truth.RIGHT}
    assert figure.answer[0] == int(answer)
    name = rng.choice(list(task.readings))
    value = task.readings[name]
    assert figure.judge([f"{name} = {wrong_value(value, [], rng)}"])[0].error == "reading"
    # A wrong operation in the place of the last: its values, its result, or what it is for.
    known = dict(task.readings)
    route = rng.choice(task.routes)
    for op in route[:-1]:
        left, right = (known[q] if isinstance(q, str) else q for q in (op.left, op.right))
        known[op.out] = apply(op.sign, left, right)
    wrong = wrong_operation_for(task, route[-1], known, rng)
    made = [
        f"{op.out} = {op.left} {op.sign} {op.right} = "
        f"{known_value(op.left, known)} {op.sign} {known_value(op.right, known)} = {known[op.out]}"
        for op in route[:-1]
    ]
    assert figure.judge([*made, wrong.claim + wrong.values])[-1].truth == Truth.WRONG


def known_value(quantity: str | int, known: dict[str, int]) -> int:
    return known[quantity] if isinstance(quantity, str) else quantity


def test_the_figure_of_a_problem_is_read_back_from_it() -> None:
    for problem in generate("seeds", 60, list(FAMILIES), 0):
        figure = figure_of(problem)
        assert figure is not None
        assert figure.answer[0] == int(problem.answer)
        assert {one.truth for one in figure.judge(parse(problem.solution or "").steps)} == {Truth.RIGHT}


def test_problems_of_other_worlds_have_no_figure() -> None:
    problem = generate("seeds", 1, ["bars"], 0)[0]
    for other in (
        Problem("x", "other", "What is shown?", "1", family="table"),
        Problem("x", "other", problem.question, "1", family="bars"),
        Problem("x", "other", problem.question, "1", solution="<step>A = 2</step><answer>1</answer>", family="bars"),
        generate("sft", 1, ["check"], 0)[0],
    ):
        assert figure_of(other) is None
