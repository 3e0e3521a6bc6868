"""Is a step of a mini solution true? In: a problem and the steps of any solution. Out: a `Judgement` a step.

A step is read back from its words and worked out anew. It is wrong where it reads a value that is not in the figure,
uses a quantity that is not there yet, puts a value in the place of a quantity that has another, computes wrongly, or
makes something that is no part of any way to the answer. Quantities have the values that they have in the figure, not
those that an earlier wrong step gave them: what follows from an error is wrong as well.

Whether two quantities mean the same is decided by their values in other figures: `s = A + B` and `q = B + A` agree in
all of them, so ways to the answer that no route writes down count as right.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mmprm.data.problem import Problem
from mmprm.mini.families import FAMILIES, Routes, apply
from mmprm.mini.statements import RESULTS
from mmprm.model.step_text import parse

Values = tuple[int, ...]  # in the problem's own figure first, then in invented ones

_INVENTED = 3
_NAME = r"[A-Za-z]+(?: [a-z]+)?"
_STEP = re.compile(r"(?:(?:read|so|then|we get) )?(.*)", re.DOTALL)
_OPERATION = re.compile(
    rf"({_NAME}) = ({_NAME}|\d+) ([-+*]) ({_NAME}|\d+) = (-?\d+) ([-+*]) (-?\d+) = (-?\d+)",
)
_CLOSE = re.compile(r"the (?:answer|result) is (-?\d+)")
_READING = re.compile(rf"({_NAME}) (?:=|is) (-?\d+)")
_KNOWN_NAMES = {name for family in FAMILIES.values() for name in family.names} | set(RESULTS)


class Truth(StrEnum):
    """What is known of a step."""

    RIGHT = "right"
    WRONG = "wrong"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Judgement:
    """The truth of a step; `error` says what is wrong: reading, quantity, values, arithmetic, plan or result."""

    truth: Truth
    error: str | None = None


RIGHT, UNREADABLE = Judgement(Truth.RIGHT), Judgement(Truth.UNREADABLE)


def _wrong(error: str) -> Judgement:
    return Judgement(Truth.WRONG, error)


@dataclass(frozen=True)
class Figure:
    """What a problem's figure shows and what is asked of it."""

    readings: Mapping[str, Values]
    useful: frozenset[Values]  # every quantity on a way to the answer
    answer: Values

    def judge(self, steps: Iterable[str]) -> list[Judgement]:
        """One judgement a step, each by the figure and by what the steps before it define."""
        known: dict[str, Values | None] = dict(self.readings)
        return [self._judge(step.strip(), known) for step in steps]

    def _judge(self, step: str, known: dict[str, Values | None]) -> Judgement:
        whole = _STEP.fullmatch(step)
        body = whole[1] if whole else step
        if found := _OPERATION.fullmatch(body):
            return self._operation(found, known)
        if found := _CLOSE.fullmatch(body):
            return RIGHT if int(found[1]) == self.answer[0] else _wrong("result")
        if found := _READING.fullmatch(body):
            return self._reading(found[1], int(found[2]), known)
        return UNREADABLE

    def _reading(self, name: str, value: int, known: Mapping[str, Values | None]) -> Judgement:
        """A statement of one value: of the figure, or of a quantity made before."""
        if name in self.readings:
            return RIGHT if value == self.readings[name][0] else _wrong("reading")
        if name == "answer":
            return RIGHT if value == self.answer[0] else _wrong("result")
        if name not in _KNOWN_NAMES:
            return UNREADABLE
        values = known.get(name)
        if values is None:
            return _wrong("quantity")
        return RIGHT if value == values[0] else _wrong("result")

    def _operation(self, found: re.Match[str], known: dict[str, Values | None]) -> Judgement:
        out, left, sign, right, first, stated, second, result = found.groups()
        if not {name for name in (out, left, right) if not name.isdigit()} <= _KNOWN_NAMES:
            return UNREADABLE
        operands = [_values(name, known) for name in (left, right)]
        made = None
        if operands[0] is not None and operands[1] is not None:
            made = tuple(apply(sign, a, b) for a, b in zip(operands[0], operands[1], strict=True))
        if out not in self.readings:  # what the figure shows cannot be changed
            known[out] = made
        if made is None or operands[0] is None or operands[1] is None:
            return _wrong("quantity")
        values = [operands[0][0], operands[1][0]], [int(first), int(second)]
        if sign != "-":  # p + q = 81 + 48 with p = 48 says nothing that is false of the sum
            values = sorted(values[0]), sorted(values[1])
        if sign != stated or values[0] != values[1]:
            return _wrong("values")
        if int(result) != made[0]:
            return _wrong("arithmetic")
        useful = made == self.answer if out == "answer" else made in self.useful
        return RIGHT if useful and out not in self.readings else _wrong("plan")


def _values(name: str, known: Mapping[str, Values | None]) -> Values | None:
    return (int(name),) * (1 + _INVENTED) if name.isdigit() else known.get(name)


def so_far(judgements: Sequence[Judgement]) -> list[Truth]:
    """Of each prefix: wrong from the first wrong step on; unreadable where a step is and none before is wrong."""
    found: list[Truth] = []
    for judgement in judgements:
        before = found[-1] if found else Truth.RIGHT
        if Truth.WRONG in (before, judgement.truth):
            found.append(Truth.WRONG)
        else:
            found.append(Truth.UNREADABLE if Truth.UNREADABLE in (before, judgement.truth) else Truth.RIGHT)
    return found


def figure_of(problem: Problem) -> Figure | None:
    """The figure of a mini problem, from its question and the readings in its solution; None for any other problem."""
    family = FAMILIES.get(problem.family or "")
    routes = family.routes(problem.question) if family else None
    if family is None or routes is None or problem.solution is None:
        return None
    shown: dict[str, int] = {}
    for step in parse(problem.solution).steps:
        found = _READING.fullmatch(step.removeprefix("read "))
        if found and found[1] in family.names:
            shown[found[1]] = int(found[2])
    return make_figure(shown, routes) if set(shown) == set(family.names) else None


def make_figure(shown: Mapping[str, int], routes: Routes) -> Figure:
    """A figure from its values and the ways to the answer."""
    readings = {
        name: (value, *(random.Random(f"{world}/{name}").randint(1_000, 999_999) for world in range(_INVENTED)))
        for name, value in shown.items()
    }
    useful: set[Values] = set()
    answers: set[Values] = set()
    for route in routes:
        known: dict[str, Values | None] = dict(readings)
        for op in route:
            left, right = _values(str(op.left), known), _values(str(op.right), known)
            assert left is not None and right is not None, "a route makes each quantity before it uses it"
            known[op.out] = made = tuple(apply(op.sign, a, b) for a, b in zip(left, right, strict=True))
            useful.add(made)
            answers |= {made} if op.out == "answer" else set()
    (answer,) = answers  # all routes lead to the same one
    return Figure(readings, frozenset(useful), answer)
