"""The rules by which each benchmark says that an answer is right, where they differ from this project's own.

Sources: MathVista's `calculate_score.py` (an answer that names no option is the option nearest to it by edit distance;
integers are cut, floats rounded to the problem's precision), MathVision's `utils.is_equal` (two decimals),
OlympiadBench's `auto_scoring_judge.py` (a tolerance, 1e-8 where the problem states none; there 0.5 is 50 too, here it
is only where one side has a percent sign). MathVerse and MM-K12 state no rule for values: this project's own holds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from mmprm.grading.closeness import EXACT, Closeness

MATHVISTA, MATHVISION, MATHVERSE, OLYMPIADBENCH, MM_K12 = (
    "mathvista",
    "mathvision",
    "mathverse",
    "olympiadbench",
    "mmk12",
)

INTEGER = Closeness(cut=True, only=True)  # of the answer type integer, wherever MathVista's rule is asked for
_REFUSES = re.compile(r"\bcannot be (?:answered|determined)\b", re.IGNORECASE)


def name_of(benchmark: str) -> str:
    """The name in small letters and digits alone: `MM-K12` and `mm_k12` are one benchmark."""
    return re.sub(r"[^a-z0-9]", "", benchmark.casefold())


def closeness(benchmark: str, precision: int | None = None, tolerances: tuple[Fraction, ...] = ()) -> Closeness:
    """How near a number must come."""
    name = name_of(benchmark)
    if tolerances:
        return Closeness(tolerances=tolerances, only=True)
    if name == MATHVISTA and precision is None:
        return INTEGER
    if name == MATHVISION and precision is None:
        return Closeness(decimals=2, only=True)
    if name == OLYMPIADBENCH:
        return Closeness(tolerances=(Fraction(1, 10**8),), only=True)
    return EXACT if precision is None else Closeness(decimals=precision, only=name == MATHVISTA)


def nearest(options: Sequence[str], text: str | None, response: str) -> int:
    """MathVista's option for an answer that names none: the first of those with the least edit distance to it.

    `text` is the answer as it was read. Where there is none, what the official extraction returns for such responses
    stands in for it: the words by which the response refuses, else `N/A`.
    """
    if text is None:
        refusal = _REFUSES.search(response)
        text = refusal[0].capitalize() if refusal else "N/A"
    distances = [edit_distance(text, option) for option in options]
    return distances.index(min(distances))


def edit_distance(one: str, other: str) -> int:
    """Insertions, deletions and substitutions of characters that make the one text the other (Levenshtein)."""
    row = list(range(len(other) + 1))
    for place, character in enumerate(one, 1):
        before, row[0] = row[0], place
        for column, wanted in enumerate(other, 1):
            before, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, before + (character != wanted))
    return row[-1]
