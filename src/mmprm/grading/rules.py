"""The grading rules: read the gold answer once, then grade each answer by the cheapest rule that can decide.

In: a problem and the text of an answer. Out: a `Graded`, or None if only `expression.compare` can decide.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache

from mmprm.data.problem import Problem
from mmprm.grading import choice, number
from mmprm.grading.benchmark_rules import EXACT, INTEGER, Closeness, closeness_of
from mmprm.grading.clean import clean, compact, named_statements, words
from mmprm.grading.expression import MATHS, MAX_CHARACTERS, is_formula
from mmprm.grading.formula import too_large
from mmprm.grading.gold import alternatives, fraction_blanks, shortest
from mmprm.grading.stated_number import stated_number

# Part of the journal's keys: raise it with every change that can alter a verdict.
VERSION = "4"

_CIRCLES = re.compile(r"[①②③]|\(1\).*\(2\)", re.DOTALL)


class Verdict(StrEnum):
    """`undecided` (the grader failed) is retried and never counted as wrong."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    UNPARSED = "unparsed"  # there is no answer to grade
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Graded:
    """A verdict and the method that gave it: `number`, `choice`, `text`, `math_verify`, `judge`, …"""

    verdict: Verdict
    method: str


def graded(correct: bool, method: str) -> Graded:
    """Return a decided verdict."""
    return Graded(Verdict.CORRECT if correct else Verdict.INCORRECT, method)


@dataclass(frozen=True)
class Target:
    """What an answer is compared with; `kind` is choice, number, expression or text."""

    kind: str
    gold: str
    options: tuple[str, ...] = ()
    right: frozenset[int] = frozenset()
    number: number.Number | None = None
    closeness: Closeness = EXACT
    others: tuple[Target, ...] = ()  # what is right as well, where the gold answer names several


@lru_cache(maxsize=65536)
def _target(
    gold: str, options: tuple[str, ...], answer_type: str, question: str, closeness: Closeness, unit: str | None
) -> Target:
    settings = options, answer_type, question, closeness, unit
    if (target := _of_one(shortest(gold), *settings)).kind == "choice" or answer_type == "text":
        return target
    first, *others = alternatives(gold)
    return replace(_of_one(first, *settings), others=tuple(_of_one(o, *settings) for o in others)) if others else target


def _of_one(
    gold: str, options: tuple[str, ...], answer_type: str, question: str, closeness: Closeness, unit: str | None
) -> Target:
    if answer_type in ("auto", "choice"):
        options = options or choice.inline_options(question)
        if not options and answer_type == "choice":
            options = tuple("ABCDEFGHIJ")  # drawn in the picture
        if right := choice.gold_indices(options, gold):
            return Target("choice", gold, options, right)
    if named_statements(gold) or (_CIRCLES.search(question) and re.fullmatch(r"\d(?:\.\d)+\.", gold.strip())):
        numbers = re.findall(r"\d", gold)
        return Target("expression", "".join(f"({number})" for number in numbers) if "." in gold else gold)
    if answer_type not in ("text", "expression") and (value := number.parse(clean(gold))):
        return Target("number", gold, number=number.with_unit(value, unit), closeness=closeness)
    if answer_type == "text" or (answer_type in ("auto", "choice") and not MATHS.search(clean(gold))):
        return Target("text", gold)
    return Target("expression", gold, closeness=closeness)


def target_of(problem: Problem, benchmark: str = "") -> Target:
    """Return what the problem's answers are compared with; a gold not readable as its stated type is an expression.

    benchmark: whose rule for near values applies (see `closeness_of`); this project's own if empty.
    """
    # The question matters only if it may hold the options; equal golds share an entry otherwise.
    question = problem.question if problem.answer_type in ("auto", "choice") and not problem.choices else ""
    tolerances = tuple(Fraction(str(tolerance)) for tolerance in problem.tolerance)  # as it was written
    closeness = INTEGER if problem.answer_type == "integer" else closeness_of(benchmark, problem.precision, tolerances)
    return _target(problem.answer, problem.choices, problem.answer_type, question, closeness, problem.unit or None)


def decide(target: Target, answer: str | None) -> Graded | None:
    """Return the verdict of the rules, within microseconds; None if formulas must be compared."""
    if answer is None or not answer.strip():
        return Graded(Verdict.UNPARSED, "none")
    for other in target.others:
        if (also := _decide(other, answer)) and also.verdict is Verdict.CORRECT:
            return also
    return _decide(target, answer)


def _decide(target: Target, answer: str) -> Graded | None:
    if target.kind == "text":
        return graded(words(answer) == words(target.gold), "text")
    if target.kind == "choice" and (decided := _decide_choice(target, answer)):
        return decided
    if target.number is not None and (value := _number_in(answer)):
        return graded(number.equal(target.number, value, target.closeness), "number")
    if target.kind == "expression" and fraction_blanks(target.gold, answer):
        return Graded(Verdict.CORRECT, "fractions")
    if target.kind == "expression" and (statements := named_statements(target.gold)):
        return graded(named_statements(answer, loose=True) == statements, "statements")
    return _decide_formula(target, answer)


def _decide_choice(target: Target, answer: str) -> Graded | None:
    if two := choice.conflicting(target.options, answer):
        return Graded(Verdict.UNDECIDED if two & target.right else Verdict.INCORRECT, "conflict")
    indices = choice.named_options(target.options, answer)
    return graded(indices == target.right, "choice") if indices else None


def _decide_formula(target: Target, answer: str) -> Graded | None:
    expression = target.kind == "expression"
    if expression and compact(answer) == compact(target.gold):
        return graded(True, "exact")
    # A formula may equal the number, or an option that it does not name: `1/2 + 1/4` for the option 3/4.
    text = clean(answer) if target.kind == "number" else answer
    comparable = len(text) <= MAX_CHARACTERS and (expression or is_formula(text)) and len(target.right) <= 1
    if comparable and too_large(text):
        return Graded(Verdict.UNDECIDED, "size")
    return None if comparable else graded(False, "length" if expression else target.kind)


def _number_in(answer: str) -> number.Number | None:
    """Return the number that the answer is or, as a sentence, states."""
    if value := number.parse(clean(answer)):
        return value
    stated = stated_number(answer)
    return number.parse(clean(stated)) if stated else None


def was_read(target: Target, answer: str) -> bool:
    """Tell whether `decide` understood the answer, so that its verdict "incorrect" is final.

    Not understood: for a choice, a text that names no option; for a number, one that is no number; for words, any other
    words. A text of more than MAX_CHARACTERS is no final answer in any case.
    """
    if len(answer) > MAX_CHARACTERS:
        return True
    if target.kind == "choice":
        return bool(choice.named_options(target.options, answer))
    if target.number is not None:
        return _number_in(answer) is not None
    return target.kind != "text"


def symbolic_gold(target: Target) -> str:
    """Return the text that `expression.compare` compares an answer with."""
    return target.options[min(target.right)] if target.kind == "choice" else target.gold
