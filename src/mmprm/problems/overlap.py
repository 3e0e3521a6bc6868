"""Is a problem one of those that we test on? In: benchmark problems, and a problem. Out: which one it is, and by what.

Ids say nothing across data sets. A problem is known where a picture of it has the pixels of a benchmark's picture
(however it was encoded), or where its question holds the whole question of a benchmark's problem. Short questions
("Find x.") are common to many problems: they count only where both have no picture and are equal.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from mmprm.data.problem import Problem
from mmprm.problems.images import pixels

LENGTH = 40  # characters without white space that make a question its problem's own
_PLACEHOLDER = re.compile(r"<image(?:_?\d+)?>")
_NOISE = re.compile(r"[\s$]+")


class Known:
    """The problems of benchmarks, to be found again elsewhere."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self._pictures: dict[str, str] = {}
        self._short: dict[str, str] = {}
        self._starts: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for problem in problems:
            for image in problem.images:
                self._pictures.setdefault(pixels(image), problem.problem_id)
            text = _plain(core(problem.question))
            if len(text) >= LENGTH:
                self._starts[text[:LENGTH]].append((text, problem.problem_id))
            elif not problem.images:
                self._short.setdefault(text, problem.problem_id)

    def why(self, problem: Problem) -> str | None:
        """A sentence that names the benchmark's problem; None where the problem is none of them."""
        for image in problem.images:
            if name := self._pictures.get(pixels(image)):
                return f"a picture of it is one of {name}"
        text = _plain(problem.question)
        for place in range(len(text) - LENGTH + 1):
            for whole, name in self._starts.get(text[place : place + LENGTH], ()):
                if text.startswith(whole, place):
                    return f"it asks what {name} asks"
        if not problem.images and (name := self._short.get(text)):
            return f"it asks what {name} asks"
        return None


def core(question: str) -> str:
    """The question without an official prompt before it, and without options or a unit behind it."""
    text = question.rpartition("\nQuestion:")[2].partition("\nChoices:")[0]
    return re.sub(r" \(Unit: [^()]*\)$", "", text)


def narrow(text: str) -> str:
    """The text in small letters, wide characters as their plain counterparts."""
    return unicodedata.normalize("NFKC", text).casefold()


def _plain(text: str) -> str:
    return _NOISE.sub("", narrow(_PLACEHOLDER.sub("", text)))
