"""Compare formulas by math-verify. In: two texts. Out: bool, or None if one of them cannot be read.

Takes milliseconds, but may hang or exhaust the memory: `Grader` runs it in a process that it can kill. Answers of
several parts are matched part by part: in order for lines and (1)…(2)…, one to one otherwise.
"""

import logging
import re
import resource
from fractions import Fraction
from typing import Any

from mmprm.grading import number
from mmprm.grading.benchmark_rules import EXACT, Closeness
from mmprm.grading.clean import clean, compact, parts, words

MAX_CHARACTERS = 400  # no final answer is longer, and longer texts take sympy minutes
MEMORY_BYTES = 6 * 2**30

_CLEARLY = 1e-3  # relative difference of values that proves formulas different without algebra

MATHS = re.compile(r"\d|[\\^_=+*/<>|√π∠△°%]|\b[a-zA-Z]\b")
_FUNCTION = re.compile(r"\\[A-Za-z]+|\b(?:sin|cos|tan|cot|log|sqrt|exp|frac|times|pi)\b")


def prepare_worker() -> None:
    """Import the slow libraries before the clock of the first task starts, and bound the worker's memory."""
    import math_verify

    logging.getLogger(math_verify.__name__).setLevel(logging.CRITICAL)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def compare(gold: str, answer: str, closeness: Closeness = EXACT) -> bool | None:
    """Tell whether `answer` equals the complete reference answer `gold`.

    None: not found equal, but on one side the part that differs is neither a number nor a formula that math-verify
    parses (see `is_formula`). If the numbers of parts differ, this holds for any part.
    """
    (golds, ordered), (answers, _) = parts(gold), parts(answer)
    if len(golds) != len(answers):  # "x = ±2" is 2 and -2
        golds, answers = _both_signs(golds), _both_signs(answers)
    if len(golds) != len(answers):  # "5 or 7" must not pass for 7: math-verify would read the last of them
        return False if all(number.parse(part) or is_formula(part) for part in golds + answers) else None
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
    return re.search(r"[A-Za-z]{3,}", _FUNCTION.sub(" ", bare)) is None and MATHS.search(bare) is not None


def _same_part(gold: str, answer: str, closeness: Closeness, index: int) -> bool | None:
    if compact(gold) == compact(answer) or (words(gold) == words(answer) and words(gold) != ""):
        return True
    gold_number, answer_number = number.parse(gold), number.parse(answer)
    if gold_number and answer_number:
        return number.equal(gold_number, answer_number, closeness, index)
    return _verified(gold, answer, closeness, index) if max(len(gold), len(answer)) <= MAX_CHARACTERS else None


def _latex(text: str) -> str:
    text = re.sub(r"\^\s*\{?\s*\\circ\s*\}?|°|\\number", "", clean(text)).replace("√", r"\sqrt").replace("π", r"\pi ")
    return "$" + re.sub(r"\\sqrt(\d+)", r"\\sqrt{\1}", text) + "$"


def _verified(gold: str, answer: str, closeness: Closeness, index: int) -> bool | None:
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    # Its timeouts are alarms, which only a main thread may set: the process pool limits the time instead.
    config = (LatexExtractionConfig(), ExprExtractionConfig())
    sides = [parse(_latex(text), extraction_config=config, parsing_timeout=None) for text in (gold, answer)]
    if all(sides):
        first = sides[0][0], sides[1][0]
        if closeness != EXACT and _near(*first, closeness, index):
            return True
        # For clearly different formulas `verify` would simplify the difference, which takes a hundred times as long.
        differ = "%" not in gold + answer and _clearly_differ(*first)
        if not differ and (verify(*sides, timeout_seconds=None) or _same_equation(*first)):
            return True
    # math-verify keeps what it cannot parse as a string, and parses words as products of letters.
    parsed = all(any(not isinstance(form, str) for form in side) for side in sides)
    return False if parsed and all(number.parse(text) or is_formula(text) for text in (gold, answer)) else None


def _near(gold: Any, answer: Any, closeness: Closeness, index: int) -> bool:
    """Tell whether both formulas are numbers and near enough."""
    values = [form.evalf(30) if getattr(form, "is_number", False) and form.is_real else None for form in (gold, answer)]
    return None not in values and closeness.near(Fraction(str(values[0])), Fraction(str(values[1])), index)


def _clearly_differ(gold: Any, answer: Any) -> bool:
    """Tell whether two formulas differ clearly at one positive point; False if they cannot be evaluated there."""
    import sympy

    if not (isinstance(gold, sympy.Expr) and isinstance(answer, sympy.Expr)):
        return False
    names = sorted(gold.free_symbols | answer.free_symbols, key=str)
    point = {name: sympy.Rational(137 + 31 * index, 100) for index, name in enumerate(names)}
    try:
        gold_value, value = (complex(form.subs(point).evalf()) for form in (gold, answer))
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        return False
    return abs(gold_value - value) > _CLEARLY * (1 + abs(gold_value))


def _same_equation(gold: Any, answer: Any) -> bool:
    """Tell whether two equations are the same up to a constant factor: `x + y = 1` and `2x + 2y = 2`.

    math-verify itself compares equations with a bare value on one side (`x = 5`). Source: OlympiadBench's
    `equation_equal`, which accepts integer factors only.
    """
    import sympy

    if not (isinstance(gold, sympy.Eq) and isinstance(answer, sympy.Eq)):
        return False
    sides = [sympy.expand(equation.lhs - equation.rhs) for equation in (gold, answer)]
    if sides[0] == 0 or sides[1] == 0 or sides[0].free_symbols != sides[1].free_symbols:
        return False
    ratio = sympy.simplify(sides[0] / sides[1])
    return bool(ratio.is_number and ratio != 0)
