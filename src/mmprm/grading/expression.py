"""Formulas, by math-verify: is the answer equal to the gold one as mathematics? Slow (milliseconds to for ever).

In: two texts. Out: bool. It may hang or eat memory on hostile input, so `pool.Grader` runs it in a process that it can
kill. Answers of several parts are matched part by part: in order for lines and (1)…(2)…, one to one otherwise.
"""

from __future__ import annotations

import logging
import re

from mmprm.grading import number
from mmprm.grading.clean import clean, compact, parts, words

MAX_CHARACTERS = 400  # no final answer is longer; longer texts cost sympy minutes
MEMORY_BYTES = 6 * 2**30


def prepare_worker() -> None:
    """Import what is slow before the clock of the first task starts, and bound the worker's memory."""
    import resource

    import math_verify

    logging.getLogger(math_verify.__name__).setLevel(logging.CRITICAL)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def same(gold: str, answer: str) -> bool:
    """Is `answer` right where `gold` is the whole reference answer?"""
    golds, ordered = parts(gold)
    answers, _ = parts(answer)
    if len(golds) == 1:
        # "5 or 7" must not pass for 7: math-verify would read the last of them.
        return len(answers) == 1 and _same_part(golds[0], answers[0])
    if len(golds) != len(answers):
        return False
    if ordered:  # the blanks of a question; an answer may part them by commas
        return all(_same_part(*pair) for pair in zip(golds, answers, strict=True))
    left = list(answers)
    for part in golds:  # equality is transitive, so the greedy one-to-one matching finds one where there is one
        match = next((index for index, candidate in enumerate(left) if _same_part(part, candidate)), None)
        if match is None:
            return False
        left.pop(match)
    return True


def _same_part(gold: str, answer: str) -> bool:
    if compact(gold) == compact(answer) or (words(gold) == words(answer) and words(gold) != ""):
        return True
    gold_number, answer_number = number.parse(gold), number.parse(answer)
    if gold_number and answer_number:
        return number.equal(gold_number, answer_number)
    return max(len(gold), len(answer)) <= MAX_CHARACTERS and _verified(gold, answer)


def _latex(text: str) -> str:
    text = re.sub(r"\^\s*\{?\s*\\circ\s*\}?|°|\\number", "", clean(text)).replace("√", r"\sqrt").replace("π", r"\pi ")
    text = re.sub(r"\\sqrt(\d+)", r"\\sqrt{\1}", text)
    return f"${text}$"


def _verified(gold: str, answer: str) -> bool:
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    # Its timeouts are alarms, which only a main thread may set: the pool keeps the time instead.
    config = (LatexExtractionConfig(), ExprExtractionConfig())
    sides = [parse(_latex(text), extraction_config=config, parsing_timeout=None) for text in (gold, answer)]
    return all(sides) and bool(verify(sides[0], sides[1], timeout_seconds=None))
