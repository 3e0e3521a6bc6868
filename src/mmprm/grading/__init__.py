"""Grade answers: options, numbers, formulas and words; `undecided` if the grader itself failed."""

from mmprm.grading.grader import Grader, grade
from mmprm.grading.rules import VERSION, Graded, Verdict

__all__ = ["VERSION", "Graded", "Grader", "Verdict", "grade"]
