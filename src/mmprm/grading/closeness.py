"""When is one number near enough to another? Each benchmark says so in its own way.

In: two exact values, the gold one first. Out: bool. Sources: MathVista's `calculate_score.py` (an integer is cut, a
float rounded to the problem's precision), MathVision's `utils.is_equal` (both rounded to two decimals), OlympiadBench's
`auto_scoring_judge.py` (within 1.01 times the answer's tolerance).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Closeness:
    """`decimals`: both are rounded to so many; `cut`: the answer's fraction is dropped; `tolerances`: one, or one for
    each part of the gold answer. `only`: no other rule for near values counts beside this."""

    decimals: int | None = None
    cut: bool = False
    tolerances: tuple[Fraction, ...] = ()
    only: bool = False

    def near(self, gold: Fraction, answer: Fraction, part: int = 0) -> bool:
        """Is the answer near enough to the gold answer's part of that index?"""
        if gold == answer:
            return True
        if self.cut and gold == int(answer):
            return True
        if self.decimals is not None and _rounded(gold, self.decimals) == _rounded(answer, self.decimals):
            return True
        if not self.tolerances:
            return False
        tolerance = self.tolerances[part if len(self.tolerances) > 1 and part < len(self.tolerances) else 0]
        return abs(gold - answer) <= tolerance * Fraction(101, 100)


EXACT = Closeness()


def _rounded(value: Fraction, decimals: int) -> Fraction:
    """As the benchmarks round: a binary float by Python's `round`; exactly where it is no float."""
    try:
        return Fraction(repr(round(float(value), decimals)))
    except OverflowError:
        return round(value, decimals)
