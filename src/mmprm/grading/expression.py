"""Formulas, by math-verify: is the answer equal to the gold one as mathematics? Slow (milliseconds to for ever).

In: two texts. Out: bool, or None where one of them cannot be read. It may hang or eat memory on hostile input, so
`pool.Grader` runs it in a process that it can kill. Answers of several parts are matched part by part: in order for
lines and (1)…(2)…, one to one otherwise.
"""

from __future__ import annotations

import logging
import re

from mmprm.grading import number
from mmprm.grading.clean import clean, compact, parts, words

MAX_CHARACTERS = 400  # no final answer is longer; longer texts cost sympy minutes
MEMORY_BYTES = 6 * 2**30

MATHS = re.compile(r"\d|[\\^_=+*/<>|√π∠△°%]|\b[a-zA-Z]\b")
_FUNCTION = re.compile(r"\\[A-Za-z]+|\b(?:sin|cos|tan|cot|log|sqrt|exp|frac|times|pi)\b")


def prepare_worker() -> None:
    """Import what is slow before the clock of the first task starts, and bound the worker's memory."""
    import resource

    import math_verify

    logging.getLogger(math_verify.__name__).setLevel(logging.CRITICAL)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def compare(gold: str, answer: str) -> bool | None:
    """Is `answer` right where `gold` is the whole reference answer?

    None: not found equal, but the part where they differ is, on one side, no number, and no formula either that
    math-verify parses (`is_formula` says what words are). If they differ in the number of parts, any part counts.
    """
    golds, ordered = parts(gold)
    answers, _ = parts(answer)
    if len(golds) != len(answers):  # "5 or 7" must not pass for 7: math-verify would read the last of them
        return False if all(number.parse(part) or is_formula(part) for part in golds + answers) else None
    if ordered:  # the blanks of a question; an answer may part them by commas
        return next((same for pair in zip(golds, answers, strict=True) if not (same := _same_part(*pair))), True)
    left = list(answers)
    for part in golds:  # equality is transitive, so the greedy one-to-one matching finds one where there is one
        tried = []
        for candidate in left:
            tried.append(_same_part(part, candidate))
            if tried[-1]:
                break
        if not tried[-1]:
            return None if None in tried else False
        left.pop(len(tried) - 1)
    return True


def is_formula(text: str) -> bool:
    """Could the text be a formula (no words: three letters that are no function's name; something to calculate)?"""
    bare = re.sub(r"\\(?:text|mathrm|mbox|rm)\s*\{[^{}]*\}", "", clean(text))
    return re.search(r"[A-Za-z]{3,}", _FUNCTION.sub(" ", bare)) is None and MATHS.search(bare) is not None


def _same_part(gold: str, answer: str) -> bool | None:
    if compact(gold) == compact(answer) or (words(gold) == words(answer) and words(gold) != ""):
        return True
    gold_number, answer_number = number.parse(gold), number.parse(answer)
    if gold_number and answer_number:
        return number.equal(gold_number, answer_number)
    return _verified(gold, answer) if max(len(gold), len(answer)) <= MAX_CHARACTERS else None


def _latex(text: str) -> str:
    text = re.sub(r"\^\s*\{?\s*\\circ\s*\}?|°|\\number", "", clean(text)).replace("√", r"\sqrt").replace("π", r"\pi ")
    text = re.sub(r"\\sqrt(\d+)", r"\\sqrt{\1}", text)
    return f"${text}$"


def _verified(gold: str, answer: str) -> bool | None:
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    # Its timeouts are alarms, which only a main thread may set: the pool keeps the time instead.
    config = (LatexExtractionConfig(), ExprExtractionConfig())
    sides = [parse(_latex(text), extraction_config=config, parsing_timeout=None) for text in (gold, answer)]
    if all(sides) and verify(sides[0], sides[1], timeout_seconds=None):
        return True
    # What it cannot parse it keeps as a string; words it parses as products of letters.
    parsed = all(any(not isinstance(form, str) for form in side) for side in sides)
    return False if parsed and all(number.parse(text) or is_formula(text) for text in (gold, answer)) else None
