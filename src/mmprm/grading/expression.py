"""Compare formulas by latex2sympy, sympy and math-verify. In: two texts. Out: bool, or None if one cannot be read.

Takes milliseconds, but may hang or exhaust the memory: `Grader` runs it in a process that it can kill. Answers of
several parts are matched part by part: in order for lines and (1)…(2)…, one to one otherwise.
"""

import re
import resource
from fractions import Fraction
from functools import partial
from typing import Any

from mmprm.grading import formula, number, objects, units
from mmprm.grading.benchmark_rules import EXACT, Closeness
from mmprm.grading.clean import clean, compact, parts, words

MAX_CHARACTERS = 400  # no final answer is longer, and longer texts take sympy minutes
MEMORY_BYTES = 6 * 2**30

_SAFE_DECIMALS = 6  # of an answer that is a value of an exact formula, whatever the benchmark

MATHS = re.compile(r"\d|[\\^_=+*/<>|√π∠△°%]|\b[a-zA-Z]\b")
_FUNCTION = re.compile(r"\\[A-Za-z]+|\b(?:sin|cos|tan|cot|sec|csc|log|sqrt|exp|frac|times|pi)\b")
_WORD = re.compile(r"[A-Za-z]{3,}|\b(?:is|it|we|so|to|be|if|of|by|no)\b")
_UNIT_BEHIND = re.compile(
    r"(?<=[\d})πi])\s*(?:\\(?:text|mathrm|mbox|rm)\s*\{\s*(?P<text>[^{}\d=]+?)\s*\}(?P<power>\s*\^\s*\{?[23]\}?|[²³])?"
    r"|(?P<plain>(?:square\s|cubic\s)?\s*[A-Za-z]{2,}(?:\s*/\s*[A-Za-z]+)?)(?P<power2>\s*\^\s*\{?[23]\}?|[²³])?"
    r"|(?P<degree>\s*(?:\^\s*\{?\s*)?\\circ\s*\}?|°))\s*[.$]*$"
)
_BASE = re.compile(r"(?<=\d)_\{?\d+")
_MONTH = re.compile(r"\b(?:January|February|March|April|May|June|July|August|September|October|November|December)\b")
_PROSE = re.compile(r"[^\W\d_]{3,}|[\u4e00-\u9fff]")
_POINT = re.compile(r"^\s*(?:point\s+)?[A-Z]'?\s*(?:=|:)?\s*(?=\(.*,.*\)\s*$)", re.DOTALL)


def prepare_worker() -> None:
    """Import the slow libraries before the clock of the first task starts, and bound the worker's memory."""
    import logging

    import math_verify

    logging.getLogger(math_verify.__name__).setLevel(logging.CRITICAL)
    formula.parse("x+1")  # the parser builds its tables
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def compare(gold: str, answer: str, closeness: Closeness = EXACT) -> bool | None:
    """Tell whether `answer` equals the complete reference answer `gold`.

    None: not found equal, but on one side the part that differs is neither a number nor a formula that can be parsed.
    If the numbers of parts differ, this holds for any part.
    """
    (golds, ordered), (answers, _) = parts(gold), parts(answer)
    if len(golds) != len(answers):  # "x = ±2" is 2 and -2
        golds, answers = _both_signs(golds), _both_signs(answers)
    if len(golds) != len(answers):  # "5 or 7" must not pass for 7
        unions = objects.union(golds), objects.union(answers)
        if unions[0] is not None or unions[1] is not None:
            sides = [
                formula.parse(text) if side is None else side for side, text in zip(unions, (gold, answer), strict=True)
            ]
            return sides[0] is not None and sides[1] is not None and objects.same_object(*sides)
        return False if all(number.parse(part) or is_formula(part) for part in golds + answers) else None
    names = [number.split_name(part)[0] for part in golds]
    if len(golds) > 1 and all(names) and len(set(names)) > 1 and not any(number.split_name(a)[0] for a in answers):
        ordered = True  # values without their names stand in the order of the names
    if ordered:  # the blanks of a question; an answer may separate them by commas
        pairs = enumerate(zip(golds, answers, strict=True))
        return next((same for index, pair in pairs if not (same := _same_part(*pair, closeness, index))), True)
    left = list(answers)
    for index, part in enumerate(golds):  # equality is transitive, so that greedy matching is enough
        unread = False
        for position, candidate in enumerate(left):
            if same := _same_part(part, candidate, closeness, index):
                del left[position]
                break
            unread = unread or same is None
        else:
            return None if unread else False
    return True


def _both_signs(pieces: list[str]) -> list[str]:
    """Turn each part with a plus-minus sign into two parts."""
    plain = [re.sub(r"\\pm(?![A-Za-z])", "±", piece) for piece in pieces]
    return [piece.replace("±", sign) for piece in plain for sign in ("+-" if "±" in piece else "+")]


def is_formula(text: str) -> bool:
    """Tell whether the text may be a formula: something to calculate, no words (three letters, no function)."""
    bare = re.sub(r"\\(?:text|mathrm|mbox|rm)\s*\{[^{}]*\}", "", clean(text))
    return _WORD.search(_FUNCTION.sub(" ", bare)) is None and MATHS.search(bare) is not None


def _same_part(gold: str, answer: str, closeness: Closeness, index: int) -> bool | None:
    if compact(gold) == compact(answer) or _same_words(gold, answer):
        return True
    gold_number, answer_number = number.parse(gold), number.parse(answer)
    if gold_number and answer_number:
        return number.equal(gold_number, answer_number, closeness, index)
    if max(len(gold), len(answer)) > MAX_CHARACTERS:
        return None
    several = len(parts(gold)[0]) > 1  # a blank of several values
    return (compare if several else partial(_same_formula, index=index))(gold, answer, closeness)


def _same_words(gold: str, answer: str) -> bool:
    """Compare words without case, and dates in any order; what may be a formula is never compared so."""
    if _MONTH.search(gold):  # June 20, 20 June
        return sorted(re.findall(r"\w+", words(gold))) == sorted(re.findall(r"\w+", words(answer)))
    wordy = all(_PROSE.search(text) and not re.search(r"[\\^=<>_+|]", text) for text in (gold, answer))
    return wordy and words(gold) == words(answer) != ""


def _same_formula(gold: str, answer: str, closeness: Closeness, index: int) -> bool | None:
    if _BASE.findall(answer) and _BASE.findall(gold) != _BASE.findall(answer):
        return False  # a numeral of another base
    (gold, gold_unit), (answer, answer_unit) = _split_unit(gold), _split_unit(answer)
    ratio = units.ratio(gold_unit, answer_unit)
    if ratio is None:
        return False
    sides = [formula.parse(_POINT.sub("", text)) for text in (gold, answer)]
    if sides[0] is None or sides[1] is None:
        return None
    return _same_sides(gold, answer, sides, ratio, (gold_unit, answer_unit), closeness, index)


def _same_sides(
    gold: str,
    answer: str,
    sides: list[Any],
    ratio: Fraction,
    measures: tuple[units.Measure, units.Measure],
    closeness: Closeness,
    index: int,
) -> bool:
    import sympy

    if all(isinstance(side, sympy.Eq) for side in sides):
        return objects.same_equation(*sides)
    sides = [_unnamed(side, text) for side, text in zip(sides, (gold, answer), strict=True)]
    if not all(isinstance(side, sympy.Expr) for side in sides):
        return objects.same_object(*sides)
    first, second = sides[0], sides[1] * sympy.Rational(ratio.numerator, ratio.denominator)
    for (one, other), measure in (((first, second), measures[0]), ((second, first), measures[1])):
        if measure.kind == (("angle", 1),) and not measures[1 - measures.index(measure)].kind and other.has(sympy.pi):
            degrees = one * sympy.pi / 180
            return objects.same_value(degrees, other)
    percent = gold.rstrip("$ .").endswith("%") != answer.rstrip("$ .").endswith("%")
    if objects.same_value(first, second) or (
        percent and (objects.same_value(first, 100 * second) or objects.same_value(100 * first, second))
    ):
        return True
    return _near(first, second, answer, closeness, index)


def _split_unit(text: str) -> tuple[str, units.Measure]:
    """Return (the formula, the unit behind it)."""
    match = _UNIT_BEHIND.search(text)
    if match is None:
        return text, units.Measure()
    name = "°" if match["degree"] else f" {match['text'] or match['plain']}{match['power'] or match['power2'] or ''}"
    measure = units.measure(name)
    return (text[: match.start()], measure) if measure is not None and measure.kind else (text, units.Measure())


def _unnamed(side: Any, text: str) -> Any:
    """Return the value of `x = 5`, of `3 + 9 = 12` and of a set of one; any other equation stays one."""
    import sympy

    if isinstance(side, sympy.FiniteSet) and len(side) == 1:
        (side,) = side
    if not isinstance(side, sympy.Eq):
        return side
    named = number.split_name(clean(text))[1] != clean(text)
    computed = not side.lhs.free_symbols and isinstance(side.lhs, sympy.Expr) and objects.same_value(side.lhs, side.rhs)
    return side.rhs if named or computed else side


def _near(gold: Any, answer: Any, text: str, closeness: Closeness, index: int) -> bool:
    """Tell whether both formulas are numbers and near enough, by the benchmark or by the decimals of the answer."""
    values = [form.evalf(objects.DIGITS) if form.is_number and form.is_real else None for form in (gold, answer)]
    if None in values:
        return False
    first, second = (Fraction(str(value)) for value in values)
    if closeness != EXACT and closeness.near(first, second, index):
        return True
    written = number.parse(clean(text))
    if written is None or not written.decimals or closeness.only:
        return False
    if written.decimals >= _SAFE_DECIMALS:
        return abs(first - second) <= Fraction(1, 10**written.decimals)
    least = closeness.rounded
    return (
        least is not None and written.decimals >= least and abs(first - second) * 2 <= Fraction(1, 10**written.decimals)
    )
