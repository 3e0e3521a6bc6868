"""The result of grading: the verdict and the method that gave it."""

from dataclasses import dataclass
from enum import StrEnum

# Part of the journal's keys: raise it with every change that can alter a verdict.
VERSION = "2"


class Verdict(StrEnum):
    """`undecided` (the grader failed) is retried and never counted as wrong."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    UNPARSED = "unparsed"  # there is no answer to grade
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Graded:
    """A verdict and the method that gave it: `number`, `choice`, `text`, `math_verify`, `judge`, …"""

    verdict: Verdict
    method: str


def graded(correct: bool, method: str) -> Graded:
    """Return a decided verdict."""
    return Graded(Verdict.CORRECT if correct else Verdict.INCORRECT, method)
