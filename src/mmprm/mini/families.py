"""The families of mini problems: which values a figure shows, what is asked, and the ways to work it out.

In: a random generator. Out: a `MiniTask` with the routes to its answer (lists of operations on named quantities). They
follow from family and question, and have 4 to 7 steps in domain, 8 or 9 out of domain. Each question in domain has a
wrong route too, such as a perimeter without doubling: what a policy with systematic errors takes.
"""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mmprm.mini import drawing

Quantity = str | int  # a named quantity or a constant


@dataclass(frozen=True)
class Operation:
    """`out` = `left` sign `right`; sign is +, - or *."""

    out: str
    sign: str
    left: Quantity
    right: Quantity


Route = tuple[Operation, ...]
Routes = tuple[Route, ...]
Ranges = Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class MiniTask:
    """What is asked of a figure. Each route derives the quantity `answer` from the readings."""

    question: str
    readings: Mapping[str, int]
    routes: Routes


@dataclass(frozen=True)
class MiniFamily:
    """A kind of figure and the questions that it allows.

    ranges: limits of each quantity that the figure shows; questions: each with the routes to its answer; draw: makes
    the figure of some values; twins: orders of the quantities: what another order makes of a figure's values is its
    twin, by a mirror or by the order of the operands of + and *; wrong: a wrong route for each question, empty where
    there is none; lessons: the ranges in which the base model was taught, where those were narrower.
    """

    ranges: Ranges
    questions: Mapping[str, Routes]
    draw: Callable[[Mapping[str, int], random.Random], drawing.Canvas]
    twins: tuple[tuple[str, ...], ...]
    wrong: Mapping[str, Route] = field(default_factory=dict)
    lessons: Ranges | None = None

    @property
    def in_lessons(self) -> Ranges:
        """The ranges of the base model's lessons."""
        return self.lessons or self.ranges

    def task(self, rng: random.Random, ranges: Ranges | None = None) -> MiniTask:
        """Draw the values, in `ranges` if these are given, and one of the questions if there are several."""
        readings = {name: rng.randint(*limits) for name, limits in (ranges or self.ranges).items()}
        questions = list(self.questions)
        question = questions[rng.randrange(len(questions))] if len(questions) > 1 else questions[0]
        return MiniTask(question, readings, self.questions[question])


def apply(sign: str, left: int, right: int) -> int:
    """Compute one operation."""
    return left + right if sign == "+" else left - right if sign == "-" else left * right


def _operation(text: str) -> Operation:
    """Parse an operation such as `s = 2 * width`."""
    out, formula = text.split(" = ")
    left, sign, right = re.split(r" ([-+*]) ", formula)
    return Operation(out, sign, *(int(operand) if operand.isdigit() else operand for operand in (left, right)))


def _routes(*texts: str) -> Routes:
    return tuple(tuple(map(_operation, text.split(", "))) for text in texts)


_BARS = {
    "Find A * B + C.": _routes("p = A * B, answer = p + C"),
    "Find A + B * C.": _routes("p = B * C, answer = A + p"),
    "Find (A + B) * C.": _routes("s = A + B, answer = s * C", "p = A * C, q = B * C, answer = p + q"),
}
_BARS_WRONG = {  # what is done first: the other operation, as without the rules of precedence or the brackets
    "Find A * B + C.": "s = B + C, answer = A * s",
    "Find A + B * C.": "s = A + B, answer = s * C",
    "Find (A + B) * C.": "p = B * C, answer = A + p",
}
_PERIMETER = _routes("s = width + height, answer = 2 * s", "p = 2 * width, q = 2 * height, answer = p + q")
_ANGLE = _routes("s = a + b, answer = 180 - s", "r = 180 - a, answer = r - b", "r = 180 - b, answer = r - a")
_COST = _routes("p = pen price * pen count, q = cup price * cup count, answer = p + q")
_AREA = _routes(
    "p = a * b, q = c * d, s = p + q, answer = 2 * s", "p = a * b, q = c * d, t = 2 * p, u = 2 * q, answer = t + u"
)
_GRID = {
    f"A square is {scale} m wide. How long is the path from P to Q along the lines?": _routes(
        f"h = Qx - Px, v = Qy - Py, s = h + v, answer = {scale} * s",
        f"h = Qx - Px, v = Qy - Py, t = {scale} * h, u = {scale} * v, answer = t + u",
    )
    for scale in range(2, 10)
}
_DIGIT = (2, 9)
_PRICES = dict.fromkeys(("pen price", "pen count", "cup price", "cup count"), _DIGIT)
_POINTS = {"Px": (1, 4), "Py": (1, 4), "Qx": (6, 9), "Qy": (6, 9)}


def _wrong(texts: Mapping[str, str]) -> dict[str, Route]:
    return {question: _routes(text)[0] for question, text in texts.items()}


IN_DOMAIN = ("bars", "rectangle", "triangle", "table")
OUT_OF_DOMAIN = ("lshape", "grid")
FAMILIES = {
    "bars": MiniFamily(
        dict.fromkeys("ABC", (2, 10)),
        _BARS,
        drawing.bars,
        twins=(("B", "A", "C"), ("C", "B", "A")),
        wrong=_wrong(_BARS_WRONG),
        lessons=dict.fromkeys("ABC", _DIGIT),
    ),
    "rectangle": MiniFamily(
        dict.fromkeys(("width", "height"), (5, 49)),
        {"Find the perimeter.": _PERIMETER},
        drawing.rectangle,
        twins=(("height", "width"),),
        wrong=_wrong({"Find the perimeter.": "answer = width + height"}),  # not doubled
        lessons=dict.fromkeys(("width", "height"), (5, 39)),
    ),
    "triangle": MiniFamily(
        dict.fromkeys("ab", (20, 80)),
        {"Find the third angle.": _ANGLE},
        drawing.triangle,
        twins=(("b", "a"),),
        wrong=_wrong({"Find the third angle.": "answer = a + b"}),  # not taken from 180
    ),
    "table": MiniFamily(
        _PRICES,
        {"Find the total cost.": _COST},
        drawing.table,
        twins=(
            ("pen count", "pen price", "cup price", "cup count"),
            ("pen price", "pen count", "cup count", "cup price"),
            ("cup price", "cup count", "pen price", "pen count"),
        ),
        wrong=_wrong({"Find the total cost.": "answer = pen price * pen count"}),  # the second row forgotten
    ),
    "lshape": MiniFamily(
        dict.fromkeys("abcd", _DIGIT),
        {"Find the area of two such figures.": _AREA},
        drawing.lshape,
        twins=(("b", "a", "c", "d"), ("a", "b", "d", "c"), ("c", "d", "a", "b")),
    ),
    "grid": MiniFamily(_POINTS, _GRID, drawing.grid, twins=(("Py", "Px", "Qy", "Qx"),)),
}
