"""Which answer a reference solution states, in the form in which the policy is to write it."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from real_data import sample
from tagging_server import Tagging, problem, run_config

from mmprm.data.problem import Problem
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
    """19 of MathVision's 76 problems come with a solution; of five even a person reads no answer or another one."""
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
    assert found.counts["refused_by_reason"] == {"answer_differs": 1, "no_final_answer": 4}
    assert found.counts["kept_by_method"] == {"blank_lines": 3, "sentences": 11}
