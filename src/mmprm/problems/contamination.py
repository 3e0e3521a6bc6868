"""Contamination: is a problem one of a benchmark? In: benchmark problems, and a problem. Out: which one, and why.

A problem matches where one of its pictures has the pixels of a benchmark's picture (in any encoding), or where its
question contains the complete question of a benchmark's problem. Short questions ("Find x.") occur in many problems:
they match only if they are equal and neither problem has a picture.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from mmprm.data.problem import Problem
from mmprm.problems.image_checks import pixel_hash

LENGTH = 40  # characters without white space from which a question identifies its problem


class BenchmarkProblems:
    """The problems of benchmarks, indexed by pictures and questions."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self._pictures: dict[str, str] = {}
        self._short: dict[str, str] = {}
        self._starts: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for problem in problems:
            for image in problem.images:
                self._pictures.setdefault(pixel_hash(image), problem.problem_id)
            text = _plain(core(problem.question))
            if len(text) >= LENGTH:
                self._starts[text[:LENGTH]].append((text, problem.problem_id))
            elif not problem.images:
                self._short.setdefault(text, problem.problem_id)

    def match(self, problem: Problem) -> str | None:
        """Return a sentence that names the benchmark's problem; None where the problem matches none."""
        for image in problem.images:
            if name := self._pictures.get(pixel_hash(image)):
                return f"a picture of it is one of {name}"
        text = _plain(problem.question)
        for start in range(len(text) - LENGTH + 1):
            for question, name in self._starts.get(text[start : start + LENGTH], ()):
                if text.startswith(question, start):
                    return f"it asks what {name} asks"
        if not problem.images and (name := self._short.get(text)):
            return f"it asks what {name} asks"
        return None


def core(question: str) -> str:
    """Strip an official prompt before the question, and options or a unit after it."""
    text = question.rpartition("\nQuestion:")[2].partition("\nChoices:")[0]
    return re.sub(r" \(Unit: [^()]*\)$", "", text)


def narrow(text: str) -> str:
    """Convert to lower case, and wide characters to their plain counterparts."""
    return unicodedata.normalize("NFKC", text).casefold()


def _plain(text: str) -> str:
    return re.sub(r"[\s$]+", "", narrow(re.sub(r"<image(?:[ _]?\d+)?>", "", text)))
