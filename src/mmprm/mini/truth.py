"""Judge the steps of mini solutions. In: a problem and the steps of any solution. Out: a `Judgement` for each step.

A step is parsed and computed again. Quantities keep the values that they have in the figure, whatever an earlier wrong
step gave them, so that what follows from an error is wrong as well. Two quantities mean the same if their values agree
in other figures too: `s = A + B` and `q = B + A` always agree. So routes that `families` does not list count as right.
"""

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

from mmprm.data.problem import Problem
from mmprm.mini.families import FAMILIES, Routes, apply
from mmprm.mini.statements import RESULTS
from mmprm.model.step_text import parse

Values = tuple[int, ...]  # of a quantity: in the problem's own figure, then in invented ones

_INVENTED = 3
_NAME = r"[A-Za-z]+(?: [a-z]+)?"
_INTRODUCTION = re.compile(r"\A(?:read|so|then|we get) ")
_OPERATION = re.compile(rf"({_NAME}) = ({_NAME}|\d+) ([-+*]) ({_NAME}|\d+) = (-?\d+) ([-+*]) (-?\d+) = (-?\d+)")
_CLOSE = re.compile(r"the (?:answer|result) is (-?\d+)")
_READING = re.compile(rf"({_NAME}) (?:=|is) (-?\d+)")
_KNOWN_NAMES = {name for family in FAMILIES.values() for name in family.ranges} | set(RESULTS)


class Truth(StrEnum):
    """Whether a step is right, as far as it can be read."""

    RIGHT = "right"
    WRONG = "wrong"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Judgement:
    """The truth of a step, and the error: a `reading` that is not in the figure, a `quantity` that is not known yet,
    `values` that are not the quantities', wrong `arithmetic`, a `plan` on no route to the answer, a wrong `result`."""

    truth: Truth
    error: str | None = None


RIGHT, UNREADABLE = Judgement(Truth.RIGHT), Judgement(Truth.UNREADABLE)


def _wrong(error: str) -> Judgement:
    return Judgement(Truth.WRONG, error)


@dataclass(frozen=True)
class Figure:
    """What a problem's figure shows and what is asked about it."""

    readings: Mapping[str, Values]
    useful: frozenset[Values]  # every quantity on a route to the answer
    answer: Values

    def judge(self, steps: Iterable[str]) -> list[Judgement]:
        """Return a judgement for each step, by the figure and by what the steps before it define."""
        known: dict[str, Values | None] = dict(self.readings)
        return [self._judge(step.strip(), known) for step in steps]

    def _judge(self, step: str, known: dict[str, Values | None]) -> Judgement:
        statement = _INTRODUCTION.sub("", step, count=1)
        if match := _OPERATION.fullmatch(statement):
            return self._operation(match, known)
        if match := _CLOSE.fullmatch(statement):
            return RIGHT if int(match[1]) == self.answer[0] else _wrong("result")
        if match := _READING.fullmatch(statement):
            return self._reading(match[1], int(match[2]), known)
        return UNREADABLE

    def _reading(self, name: str, value: int, known: Mapping[str, Values | None]) -> Judgement:
        """Judge a statement of one value: of the figure, or of a quantity computed before."""
        if name in self.readings:
            return RIGHT if value == self.readings[name][0] else _wrong("reading")
        if name == "answer":
            return RIGHT if value == self.answer[0] else _wrong("result")
        if name not in _KNOWN_NAMES:
            return UNREADABLE
        if (values := known.get(name)) is None:
            return _wrong("quantity")
        return RIGHT if value == values[0] else _wrong("result")

    def _operation(self, match: re.Match[str], known: dict[str, Values | None]) -> Judgement:
        out, left, sign, right, first, stated_sign, second, result = match.groups()
        if not {name for name in (out, left, right) if not name.isdigit()} <= _KNOWN_NAMES:
            return UNREADABLE
        left_values, right_values = _values(left, known), _values(right, known)
        computed = _apply_all(sign, left_values, right_values) if left_values and right_values else None
        if out not in self.readings:  # what the figure shows cannot be changed
            known[out] = computed
        if not (left_values and right_values and computed):
            return _wrong("quantity")
        values, stated = [left_values[0], right_values[0]], [int(first), int(second)]
        if sign != "-":  # p + q = 81 + 48 with p = 48 states the right sum
            values, stated = sorted(values), sorted(stated)
        if sign != stated_sign or values != stated:
            return _wrong("values")
        if int(result) != computed[0]:
            return _wrong("arithmetic")
        useful = computed == self.answer if out == "answer" else computed in self.useful
        return RIGHT if useful and out not in self.readings else _wrong("plan")


def _apply_all(sign: str, left: Values, right: Values) -> Values:
    return tuple(apply(sign, a, b) for a, b in zip(left, right, strict=True))


def _values(name: str, known: Mapping[str, Values | None]) -> Values | None:
    return (int(name),) * (1 + _INVENTED) if name.isdigit() else known.get(name)


def so_far(judgements: Sequence[Judgement]) -> list[Truth]:
    """Return the truth of each prefix: that of its worst step, where wrong is worse than unreadable."""
    worst = [Truth.RIGHT, Truth.UNREADABLE, Truth.WRONG]
    return list(accumulate((judgement.truth for judgement in judgements), lambda *pair: max(pair, key=worst.index)))


def figure_of(problem: Problem) -> Figure | None:
    """Return the figure of a mini problem, from its question and the readings in its solution; None for others."""
    family = FAMILIES.get(problem.family or "")
    routes = family.questions.get(problem.question) if family else None
    if family is None or routes is None or problem.solution is None:
        return None
    shown: dict[str, int] = {}
    for step in parse(problem.solution).steps:
        match = _READING.fullmatch(step.removeprefix("read "))
        if match and match[1] in family.ranges:
            shown[match[1]] = int(match[2])
    return make_figure(shown, routes) if set(shown) == set(family.ranges) else None


def figures_of(problems: Mapping[str, Problem]) -> dict[str, Figure]:
    """Return the figures of those of the problems that are mini ones, by id."""
    return {name: figure for name, problem in problems.items() if (figure := figure_of(problem)) is not None}


def make_figure(shown: Mapping[str, int], routes: Routes) -> Figure:
    """Make a figure of its values and the routes to the answer."""
    readings = {
        name: (value, *(random.Random(f"{figure}/{name}").randint(1_000, 999_999) for figure in range(_INVENTED)))
        for name, value in shown.items()
    }
    useful, answers = set[Values](), set[Values]()
    for route in routes:
        known: dict[str, Values | None] = dict(readings)
        for op in route:
            left, right = _values(str(op.left), known), _values(str(op.right), known)
            assert left is not None and right is not None, "a route computes each quantity before it uses it"
            known[op.out] = computed = _apply_all(op.sign, left, right)
            useful.add(computed)
            answers |= {computed} if op.out == "answer" else set()
    (answer,) = answers  # all routes lead to the same answer
    return Figure(readings, frozenset(useful), answer)
