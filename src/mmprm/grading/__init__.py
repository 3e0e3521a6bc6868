"""Is this answer right? Choices, numbers, formulas and words; `undecided` where the grader itself failed."""

from mmprm.grading.pool import Grader, grade
from mmprm.grading.verdict import VERSION, Graded, Verdict

__all__ = ["VERSION", "Graded", "Grader", "Verdict", "grade"]
