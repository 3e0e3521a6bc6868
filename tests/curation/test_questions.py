"""What a question asks for, by its words: proofs, drawings, open questions, several; and what only looks so."""

from __future__ import annotations

import pytest

from mmprm.curation.questions import find_faults

REFUSED = [
    ("proof", "In triangle ABC, AB = AC. Prove that the two angles at B and C are equal.", 1),
    ("proof", "As shown, AB is parallel to CD. (1) Show that AE = CF.", 1),
    ("proof", "如图,AB=AC,求证:∠B=∠C.", 1),
    ("drawing", "Please complete the figure according to the method of Xiao Yun.", 1),
    ("drawing", "Sketch the graph of the function in the grid.", 1),
    ("drawing", "Given segment a. Construct a triangle with compass and ruler whose sides equal a.", 1),
    ("drawing", "请画出三角形 ABC 关于直线 l 的对称图形", 1),
    ("open_question", "Look at the chart. Explain why the second offer is better.", 1),
    ("open_question", "Why do the two lines never meet?", 1),
    ("open_question", "Design a fair game with the spinner in the picture.", 1),
    ("open_question", "哪种方案更好?请说明理由", 1),
    ("several_questions", "(1) Find the length of AB; (2) find the area of the triangle.", 1),
    ("several_questions", "① Calculate the mean. ② How many are above it?", 1),
    ("several_questions", "What is the perimeter of the field? And how long does a walk around it take?", 1),
    ("several_questions", "(1)求AB的长度;(2)求三角形的面积.", 1),
]
REFUSED += [
    ("open_question", "One path is (2,4) → (2,3). Please write down another path from A to B: ____.", 1),
    ("open_question", "To make the triangles congruent, add one suitable condition: ____.", 1),
    ("open_question", "By adding a condition, we can ensure that EFGH is a square.", 1),
    ("open_question", "Please complete a condition: ____, so that the triangles are similar.", 1),
    ("open_question", "Name a number between 2 and 3: ____. (Only fill in one)", 1),
    ("drawing", "The teacher says: 'Her way is right.' Please complete the diagram as she does.", 1),
    ("drawing", "How long is AB? Then draw the perpendicular bisector of AB.", 1),
    ("proof", "Given AB = AC and BD = CE, prove that AD = AE.", 1),
]
KEPT = [
    ("How many squares do we have to shade so that the figure has an axis of symmetry?", 1),
    ("Max colours in the squares of the grid so that a third are blue. How many does he colour red?", 1),
    ("In how many ways can you colour the faces with 3 colours? Two ways are one if a turn makes them so.", 1),
    ("He wanted to draw a rhombus. Which of the line segments is the longest?", 1),
    ("Due to design requirements, AB is 40 m. Find the shortest length of AC.", 1),
    ("Using the circle as the base, design a cylinder. What is its volume?", 1),
    ("What do you think is the last digit of 7^9?", 1),
    ('A book asks: "How long is the rope? And how wide is the pond?" The equation is ___.', 1),
    ("Kanga asks: “How large is the white area?” What is the correct answer?", 1),
    ("Draw the line through A. It is ___ cm long.", 1),
    ("Designate angle BFD by a. Then a is", 1),
    ("It can be proved that AE = CF. Then AE is ___.", 1),
    ("The verified length of the bridge is 40 m. How long is its shadow?", 1),
    ("A line is drawn through A; then the area of the part to the left is ___.", 1),
    ("Draw a line through A that is parallel to BC and meets CD at E. What is the length of CE?", 1),
    ("The triangle OAB is a figure drawn by oblique projection. What is its original area?", 1),
    ("The design of the flag has five stripes. How many are red?", 1),
    ("As shown, the first (1), (2), (3), (4)... have 1, 5, 11, 19... squares. How many has the 10th (10) figure?", 1),
    (
        "You have the following conclusions: 1. AB is parallel to CD; 2. AB = BC; 3. AO = OC. Correct are ___.",
        1,
    ),
    ("(1) The rectangle corresponds to ___; (2) if N = 71 and L = 18, then S = ___.", 2),
    ("The time is ___ hours and ___ minutes, and the angle is ___.", 3),
    ("Find the price of one pen in table (2) if x = 3. What is it?", 1),
]


@pytest.mark.parametrize(("rule", "question", "parts"), REFUSED)
def test_it_is_known_by_its_words(rule: str, question: str, parts: int) -> None:
    assert getattr(find_faults(question, parts), rule)


@pytest.mark.parametrize(("question", "parts"), KEPT)
def test_words_that_ask_for_nothing_of_the_kind_refuse_nothing(question: str, parts: int) -> None:
    assert set(vars(find_faults(question, parts)).values()) == {None}


@pytest.mark.parametrize(("rule", "question", "parts"), REFUSED)
def test_options_make_a_question_verifiable_whatever_it_asks(rule: str, question: str, parts: int) -> None:
    assert set(vars(find_faults(question, parts, has_options=True)).values()) == {None}
    if "\n" not in question:
        assert set(vars(find_faults(f"{question} A. yes B. no C. both", parts)).values()) == {None}


def test_several_blanks_are_one_question_where_the_answer_has_a_part_for_each() -> None:
    asked = "(1) The sum is ___; (2) the difference is ___."
    assert find_faults(asked, 2).several_questions is None
    assert find_faults(asked, 1).several_questions == "2 questions, and 1 answer"


@pytest.mark.parametrize("text", ["\n" * 20_000, " \n" * 10_000, "." + " " * 20_000, ". " * 10_000, "then " * 4_000])
def test_a_question_of_blanks_and_line_ends_is_read_in_linear_time(text: str) -> None:
    import re
    import time

    from mmprm.curation import questions

    began = time.process_time()
    for pattern in vars(questions).values():
        if isinstance(pattern, re.Pattern):
            pattern.search(text)
    assert time.process_time() - began < 15  # quadratic: half a minute
