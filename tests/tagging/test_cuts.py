"""Where solutions are cut, and where never; nothing of a text is lost."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmprm.config.derived import TaggedSource
from mmprm.llm.tasks import ItemRefusedError
from mmprm.model.step_text import has_control, neutralise
from mmprm.tagging.cuts import LEVELS, cut
from mmprm.tagging.tag_by_rules import cut_into_steps


def limits(**given: int) -> TaggedSource:
    return TaggedSource(kind="tagged", sources=["raw"], **{"min_step_chars": 1, **given})


def pieces(text: str, level: str) -> list[str]:
    return [piece.strip() for piece in cut(text, level)]


@pytest.mark.parametrize(
    ("marks"),
    [
        ("Step 1:", "Step 2:", "Step 3:"),
        ("**Step 1.**", "**Step 2.**", "**Step 3.**"),
        ("### Step 1", "### Step 2", "### Step 3"),
        ("1.", "2.", "3."),
        ("1)", "2)", "3)"),
        ("(1)", "(2)", "(3)"),
        ("第一步：", "第二步：", "第三步："),
        ("第1步", "第2步", "第3步"),
        ("1、", "2、", "3、"),
        ("①", "②", "③"),
    ],
)
def test_numbered_steps_are_cut_before_their_numbers(marks: tuple[str, ...]) -> None:
    steps = [f"{mark} here the part {mark} is done, with x = 2.5" for mark in marks]
    assert pieces("\n".join(steps), "numbered") == steps


def test_numbered_steps_on_one_line_are_cut_too() -> None:
    text = "Step 1: read 3. Step 2: add 4; see Step 1. Step 3: it is 7."
    assert pieces(text, "numbered") == ["Step 1: read 3.", "Step 2: add 4; see Step 1.", "Step 3: it is 7."]
    assert pieces("第一步：求半径。第二步：求面积。", "numbered") == ["第一步：求半径。", "第二步：求面积。"]


def test_numbers_that_count_nothing_are_no_steps() -> None:
    assert cut("By ① and ② we get\n3. apples\n1.5 of them\n(7) is left", "numbered") == [
        "By ① and ② we get\n3. apples\n1.5 of them\n(7) is left"
    ]
    assert len(cut("由①得y=3，由②得x=2", "numbered")) == 1


def test_a_list_within_a_step_does_not_end_it_and_a_second_part_starts_anew() -> None:
    text = "1. Look:\n    1. here\n    2. there\n2. Add.\nNow the other part.\n1. Again.\n2. Done."
    found = pieces(text, "numbered")
    assert [piece[:2] for piece in found] == ["1.", "2.", "1.", "2."]
    assert "there" in found[0] and "other part" in found[1]


@pytest.mark.parametrize(
    "kept",
    [
        "the value is 3.5 m. wide",
        "see Fig. 3 and Eq. (2)",
        "by No. 5 of the list",
        "e.g. Two of them, i.e. A and B",
        "Dr. Smith vs. Mr. Jones",
        "$$a = b. C = d$$",
        r"\[ x = 1. \] and \( y. Z \)",
        "$x = 1. Y = 2$",
        "\\begin{aligned} a. \n\n B &= \\begin{cases} 1. & \\\\ 2 \\end{cases} \n\n C \\end{aligned}",
        "```\nA. B\n\nC! D\n```",
        "[asy]\ndraw(A--B); // A. B\n\nlabel(C);\n[/asy]",
    ],
)
@pytest.mark.parametrize("level", LEVELS)
def test_what_belongs_together_is_never_cut(kept: str, level: str) -> None:
    assert cut(kept, level) == [kept]


def test_sentences_end_at_points_marks_and_lines() -> None:
    text = "It is 5. Then 7! Is it? (Yes.) So A. Therefore $x$. \\(y\\) too. 因为是3.5。所以是4！对？\n- a bullet\n- b"
    english = ["It is 5.", "Then 7!", "Is it?", "(Yes.)", "So A.", "Therefore $x$.", "\\(y\\) too."]
    assert pieces(text, "sentences") == [*english, "因为是3.5。", "所以是4！", "对？", "- a bullet", "- b"]
    assert pieces("Is it No. 5? The answer is no. The end.", "sentences") == [
        "Is it No. 5?",
        "The answer is no.",
        "The end.",
    ]
    assert pieces("It costs $5. Then $6. In all $11.", "sentences") == ["It costs $5.", "Then $6.", "In all $11."]


def test_a_line_that_an_editor_wrapped_is_no_piece_of_its_own() -> None:
    assert pieces("The sum of the\nnumbers is 7.\nSo it is.", "lines") == ["The sum of the\nnumbers is 7.", "So it is."]


def steps(text: str, **given: int) -> list[str]:
    return cut_into_steps(text, limits(**given))[1]


def test_the_coarsest_level_that_gives_steps_counts() -> None:
    prose = "One sentence. Another one."
    assert cut_into_steps(f"1. {prose}\n\n2. {prose}", limits())[0] == "numbered"
    assert cut_into_steps(f"{prose}\nA line.\n\n{prose}", limits())[0] == "blank_lines"
    assert cut_into_steps(f"{prose}\n{prose}", limits())[0] == "lines"
    assert cut_into_steps(prose, limits())[0] == "sentences"
    assert cut_into_steps("only one thing", limits(min_steps=1)) == ("whole", ["only one thing"])
    assert cut_into_steps(f"{prose}\n\n{prose}", limits(min_steps=4))[0] == "sentences"


def test_a_formula_stays_with_the_words_that_introduce_it_and_with_its_next_line() -> None:
    text = "We get:\n$$x = 1$$\nSo it grows.\n= 7 in all\nDone at last."
    assert steps(text) == ["We get:\n$$x = 1$$", "So it grows.\n= 7 in all", "Done at last."]


def test_what_is_too_short_goes_with_its_neighbour() -> None:
    assert steps("Solution\n\nAdd them all up first.\n\nThe sum is then 7.\n\n#### 7", min_step_chars=12) == [
        "Solution\n\nAdd them all up first.",
        "The sum is then 7.\n\n#### 7",
    ]


def test_what_is_too_long_is_cut_at_its_sentences_and_filled_up() -> None:
    sentence = "This has thirty-two characters. "
    text = sentence * 6 + "\n\nThe end is here."
    assert steps(text, max_step_chars=64) == [(sentence * 2).strip()] * 3 + ["The end is here."]
    with pytest.raises(ItemRefusedError) as refused:
        steps("x" * 65 + "\n\nThe end.", max_step_chars=64)
    assert refused.value.refused.reason == "step_too_long"


def test_the_shortest_neighbours_are_joined_until_there_are_few_enough() -> None:
    text = "\n\n".join(["A long first step, as it were.", "Short.", "Short.", "A long last step, as it were."])
    assert steps(text, max_steps=3) == [text.split("\n\n")[0], "Short.\n\nShort.", text.split("\n\n")[3]]
    with pytest.raises(ItemRefusedError) as refused:
        steps("\n\n".join(["x" * 20 + "."] * 4), max_steps=3, max_step_chars=30)
    assert refused.value.refused.reason == "too_many_steps"


MARKS = ["Step 1: ", "Step 2. ", "**Step 3**", "1. ", "2) ", "(1) ", "①", "②", "第一步", "第2步", "- item", "Fig. 3"]
SPACES = ["\n", "\n\n", "\r\n", " ", "  ", "\u3000", "\t", ". ", ".", "! ", "。", "？", ": ", ","]
MATHS = ["$", "$$", "\\[", "\\]", "\\(", "\\)", "```", "\\begin{aligned}", "\\end{aligned}", "\\begin{", "3.5", "= 7"]
TEXTS = ["x", "Y", "é", "e.g. ", "A longer piece of text that goes on and on"]
CONTROL = ["<step>", "</answer>", "<", "<prm>", "answer>", "<st<step>ep>"]
FRAGMENTS = st.sampled_from(MARKS + SPACES + MATHS + TEXTS + CONTROL)


@given(
    st.lists(FRAGMENTS, min_size=1, max_size=40).map("".join) | st.text(max_size=80),
    st.integers(1, 5),
    st.integers(1, 12),
    st.integers(20, 60),
    st.integers(1, 30),
)
def test_the_words_of_the_steps_are_the_words_of_the_solution(
    raw: str, least: int, more: int, longest: int, shortest: int
) -> None:
    """Whatever the text and the limits: the steps are the text, in order, and within the limits."""
    source = limits(min_steps=least, max_steps=least + more, max_step_chars=longest, min_step_chars=shortest)
    text = neutralise(raw)
    for level in LEVELS:
        assert "".join(cut(text, level)) == text
    try:
        _, found = cut_into_steps(text, source)
    except ItemRefusedError:
        return
    assert "".join("".join(found).split()) == "".join(text.split())
    assert least <= len(found) <= least + more
    assert all(step and step == step.strip() and len(step) <= longest for step in found)
    assert not any(has_control(step) for step in found)


@given(st.lists(st.sampled_from(["The sum is 3.5 here.", "Then $x. Y$ holds.", "所以是四。"]), min_size=2, max_size=9))
def test_ordinary_sentences_are_never_refused(sentences: list[str]) -> None:
    assert cut_into_steps("\n".join(sentences), limits())[1] == sentences


FORMULAS = [
    "$x = 1. Y$",
    "$$a.\n\nB$$",
    "\\[ a. B \\]",
    "\\(x. Y\\)",
    "\\begin{cases} 1. A \\\\\n\n2. B \\end{cases}",
    "```\n1. A\n2. B\n```",
]
PROSE = ["Step 1: so", "\n\n", "\n", ". ", "It is", "1. ", "2. ", "。", "costs 5", "Step 2: then "]


@given(st.lists(st.tuples(st.sampled_from(PROSE), st.sampled_from(FORMULAS)), min_size=1, max_size=12))
def test_whatever_stands_around_it_a_formula_is_never_cut(parts: list[tuple[str, str]]) -> None:
    text = "".join(f"{prose} {formula} " for prose, formula in parts)
    for level in LEVELS:
        pieces_ = cut(text, level)
        for formula in FORMULAS:
            assert sum(piece.count(formula) for piece in pieces_) == text.count(formula)


@pytest.mark.parametrize(
    "mark", ["\\[", "\\(", "$a", "$$a", "```", "[asy]", "\\begin{a}", "Step 1 ", "(1)\n", " \n", "![]("]
)
def test_marks_that_nothing_ends_cost_no_time(mark: str) -> None:
    """A second would be minutes, were each mark's end looked for through all of the text."""
    started = time.process_time()
    for level in LEVELS:
        cut((mark * 60_000)[:60_000], level)
    assert time.process_time() - started < 60
