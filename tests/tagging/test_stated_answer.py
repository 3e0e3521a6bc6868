"""Which answer a reference solution states, in the form in which the policy is to write it."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from real_data import sample
from tagging_server import Tagging, problem, run_config

from mmprm.data.problem import Problem
from mmprm.grading import Verdict, grade
from mmprm.tagging.tag_by_rules import stated_answer, tidy_answer

CM = ("$40 \\mathrm{~cm}$", "$48 \\mathrm{~cm}$")


@pytest.mark.parametrize(
    ("solution", "gold", "answer"),
    [
        ("We add. The sum is 5. Therefore it is $3 + 4 = 7$.", "7", "7"),
        ("So $x = 3$ on the way. The area of it is then $15 + 17 = 47 \\mathrm{~cm}^2$.", "47", "47 \\mathrm{~cm}^2"),
        ("The answer is 12. That is because 3 and 9 make it.", "12", "12"),
        ("Thus $x=\\boxed{36}$ degrees. The others are 72.", "36", "36"),
        ("Two and two.\n#### 1,200", "1200", "1,200"),
        (
            "So it is $$\\frac{a}{2}b=\\frac{1}{2}+\\frac{x}{3}.$$",
            "$\\frac{1}{2}+\\frac{x}{3}$",
            "\\frac{1}{2}+\\frac{x}{3}",
        ),
        ("It is clear from the figure.", "7", None),
    ],
)
def test_the_last_sentence_counts_unless_the_solution_says_what_its_answer_is(
    solution: str, gold: str, answer: str | None
) -> None:
    assert stated_answer(problem(3, solution, answer=gold), solution) == answer


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        ("It is the second. Thus, the right one is B.", "B"),
        ("The whole way is $4 \\times 12 = 48 \\mathrm{~cm}$. ![](https://x/y.jpg?height=263)", "B"),
        ("The whole way is 49 in all.", None),
    ],
)
def test_an_option_is_named_by_its_letter_or_its_value_in_the_last_sentence(solution: str, answer: str | None) -> None:
    assert stated_answer(problem(3, solution, answer="B", choices=CM), solution) == answer


@pytest.mark.parametrize(
    ("said", "tidy"),
    [
        ("22$", "22"),
        ("$x$", "$x$"),
        ("**7**.", "7"),
        (": 7\\)", "7"),
        ("\\(a\\)", "\\(a\\)"),
        (" $ ", None),
        ("", None),
    ],
)
def test_marks_that_belong_to_the_sentence_are_no_part_of_the_answer(said: str, tidy: str | None) -> None:
    assert tidy_answer(said) == tidy


def test_of_real_solutions_in_prose_those_that_state_their_answer_are_tagged(tmp_path: Path) -> None:
    """19 of MathVision's 76 problems come with a solution; four end in no value ("half the total area")."""
    rows = [row for row in pq.read_table(sample("mathvision")).to_pylist() if row["solution"]]
    problems = [
        Problem(
            f"real/{row['id']}",
            "real",
            row["question"],
            row["answer"],
            choices=tuple(row["options"]),
            solution=row["solution"],
        )
        for row in rows
    ]
    found = Tagging(tmp_path, problems).run(run_config())
    assert found.counts["refused_by_reason"] == {"no_final_answer": 4}
    assert sum(found.counts["kept_by_method"].values()) == 15
    assert not any("](http" in solution for solution in found.solutions.values()) and any(
        "](http" in row["solution"] for row in rows
    )


@pytest.mark.parametrize(
    ("answer", "choices", "solution", "stated"),
    [
        ("4", (), "We count 5 pairs. Hence the width is 9 and the height, which is asked for, is 4 of 13.", "4"),
        ("6", (), "So $a + b + x = 9$ and hence $x = 6$. (Note: with $a = 1$ there are 7 ways.)", "6"),
        ("C", ("$3$ m", "$5$ m", "$8$ m"), "It is 2 m longer than before, so it must have been $8$ m at first.", "C"),
        ("B", ("2:3", "3:2", "1:1"), "The ratio of the sides is $AB : CD = 6:4 = 3:2$.", "B"),
        ("2", (), "In each row three are left, so two frogs have to jump to the 3rd row or the 4th.", "two"),
        ("7", (), "We found 7 above. The answer is 5.", "5"),  # what the solution calls its answer counts
        ("3", (), "Ken is 5 votes behind. Hence only Henry, India and Jenny still have a chance of winning.", "3"),
        ("2", (), "There are 9 rows. Hence only Henry, India and Jenny still have a chance of winning.", None),
        ("7", (), "There are 7 in the first row. In the end $x = 12$ and $y = 13$.", None),
    ],
)
def test_of_several_values_in_the_last_sentence_the_gold_answer_is_read(
    answer: str, choices: tuple[str, ...], solution: str, stated: str | None
) -> None:
    problem = Problem("p", "s", "How many frogs have to jump?", answer, choices=choices, solution=solution)
    found = stated_answer(problem, solution)
    assert found == stated if stated else not (found and grade(found, problem).verdict is Verdict.CORRECT)


def test_a_chain_of_equations_for_a_number_is_its_last_side() -> None:
    solution = "The triangles are congruent. Hence $P Q = 4$"
    assert stated_answer(Problem("p", "s", "How long is PQ?", "4", solution=solution), solution) == "4"


def test_links_to_pictures_are_no_steps(tmp_path: Path) -> None:
    solution = "First, 2 + 3 = 5 are seen here.\n\n![](https://a.b/c.jpg?x=17)\n\nThen 5 + 4 = 9, so the answer is 9."
    problem = Problem("real/p", "real", "How many?", "9", solution=solution)
    found = Tagging(tmp_path, [problem]).run(run_config())
    (tagged,) = found.solutions.values()
    assert tagged.count("<step>") == 2 and "http" not in tagged
