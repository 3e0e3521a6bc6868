"""The rules by which each benchmark calls an answer right, where they differ from this project's own.

In: a benchmark's name and the settings of a problem. Out: a `Closeness`, or MathVista's nearest option. Sources:
MathVista's `calculate_score.py` (an answer that names no option counts as the option with the least edit distance;
integers are truncated, floats rounded to the problem's precision), MathVision's `utils.is_equal` (both rounded to two
decimals), OlympiadBench's `auto_scoring_judge.py` (within 1.01 × the problem's tolerance, 1e-8 if none is stated; it
accepts 0.5 for 50 too, here only if one side has a percent sign), MathVerse's `score_answer_s2.py` (a language model
judges, which takes 10.93 for 4+4√3), MMMU's `eval_utils.normalize_str` (numbers rounded to two decimals), DynaMath's
evaluation (numbers within 0.001). MM-K12 states no rule for values.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

MATHVISTA, MATHVISION, OLYMPIADBENCH, MATHVERSE = "mathvista", "mathvision", "olympiadbench", "mathverse"
MMMU, DYNAMATH = "mmmu", "dynamath"
_REFUSES = re.compile(r"\bcannot be (?:answered|determined)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Closeness:
    """How near an answer must come to the gold number.

    decimals: both are rounded to this many. truncate: the answer's fraction is dropped. tolerances: largest
    differences, one for all parts of the gold answer or one for each. only: no other rule for near values applies.
    rounded: an answer of at least so many decimals may be a rounded value of an exact gold; None: it may not.
    """

    decimals: int | None = None
    truncate: bool = False
    tolerances: tuple[Fraction, ...] = ()
    only: bool = False
    rounded: int | None = None

    def near(self, gold: Fraction, answer: Fraction, part: int = 0) -> bool:
        """Tell whether the answer is near enough to the gold answer's part of that index."""
        if gold == answer or (self.truncate and gold == int(answer)):
            return True
        if self.decimals is not None and _rounded(gold, self.decimals) == _rounded(answer, self.decimals):
            return True
        if not self.tolerances:
            return False
        tolerance = self.tolerances[part if len(self.tolerances) > 1 and part < len(self.tolerances) else 0]
        return abs(gold - answer) <= tolerance * Fraction(101, 100)


EXACT = Closeness()
INTEGER = Closeness(truncate=True, only=True)  # MathVista's rule, and that of the answer type integer

_OF_BENCHMARK = {
    MATHVISTA: INTEGER,
    MATHVISION: Closeness(decimals=2, only=True),
    MATHVERSE: Closeness(rounded=2),
    MMMU: Closeness(decimals=2),
    DYNAMATH: Closeness(tolerances=(Fraction(1, 1010),), only=True),  # 0.001, since every tolerance is widened by 1 %
}


def _rounded(value: Fraction, decimals: int) -> Fraction:
    """Round as the benchmarks do: a binary float by Python's `round`, what is too large for a float exactly."""
    try:
        return Fraction(repr(round(float(value), decimals)))
    except OverflowError:
        return round(value, decimals)


def benchmark_key(benchmark: str) -> str:
    """Return the name in small letters and digits alone: `MM-K12` and `mm_k12` are one benchmark."""
    return re.sub(r"[^a-z0-9]", "", benchmark.casefold())


def closeness_of(benchmark: str, precision: int | None = None, tolerances: tuple[Fraction, ...] = ()) -> Closeness:
    """Return how near a number must come for a benchmark, by the precision and tolerances of the problem."""
    key = benchmark_key(benchmark)
    if tolerances:
        return Closeness(tolerances=tolerances, only=True)
    if key == OLYMPIADBENCH:
        return Closeness(tolerances=(Fraction(1, 10**8),), only=True)
    if precision is None:
        return _OF_BENCHMARK.get(key, EXACT)
    return Closeness(decimals=precision, only=key == MATHVISTA)


def nearest_option(options: Sequence[str], answer: str | None, response: str) -> int:
    """Return MathVista's option for an answer that names none: the first with the least edit distance to it.

    If no answer was read, the text that the official extraction returns for such responses takes its place: the words
    by which the response refuses, else `N/A`.
    """
    if answer is None:
        refusal = _REFUSES.search(response)
        answer = refusal[0].capitalize() if refusal else "N/A"
    distances = [edit_distance(answer, option) for option in options]
    return distances.index(min(distances))


def edit_distance(first: str, second: str) -> int:
    """Count the insertions, deletions and substitutions that turn one text into the other (Levenshtein)."""
    distances = list(range(len(second) + 1))
    for row, character in enumerate(first, 1):
        diagonal, distances[0] = distances[0], row
        for column, other in enumerate(second, 1):
            above = distances[column]
            distances[column] = min(above + 1, distances[column - 1] + 1, diagonal + (character != other))
            diagonal = above
    return distances[-1]
