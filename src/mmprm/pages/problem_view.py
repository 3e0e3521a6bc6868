"""A problem as the pages show it, and what is known of the truth of its steps. In: problems. Out: plain values."""

from collections.abc import Sequence

from mmprm.data.problem import Problem
from mmprm.mini.truth import figure_of, so_far
from mmprm.pages.kit import Row
from mmprm.report.sections.examples import data_uri
from mmprm.report.templates import shorten

_ABOUT = 160  # characters of a question in a list


def view(problem: Problem | None) -> Row:
    """Return question, choices, answer and images (data URIs, None for one that cannot be shown); of None nothing."""
    if problem is None:
        return {"question": None, "choices": [], "answer": None, "images": []}
    return {
        "question": problem.question,
        "choices": list(problem.choices),
        "answer": problem.answer,
        "images": [data_uri(image) for image in problem.images],
    }


def about(problem: Problem | None) -> Row:
    """Return what a list says of the problem: about (the beginning of its question), source, family."""
    if problem is None:
        return {"about": "", "source": None, "family": None}
    return {
        "about": shorten(" ".join(problem.question.split()), _ABOUT),
        "source": problem.source,
        "family": problem.family,
    }


class StepTruth:
    """The truth of a problem's steps; of most problems none is known."""

    def __init__(self, problem: Problem | None) -> None:
        self._figure = figure_of(problem) if problem else None

    def __bool__(self) -> bool:
        return self._figure is not None

    def __call__(self, steps: Sequence[str]) -> list[str]:
        """Return right, wrong (from the first wrong step on) or unreadable after each step; empty: not known."""
        return [str(truth) for truth in so_far(self._figure.judge(steps))] if self._figure else []
