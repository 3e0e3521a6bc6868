"""The families of mini problems: which values a figure shows, what is asked, and the ways to work it out.

In: a random generator. Out: a `MiniTask`: a question, the values to read in the figure, and the routes to its answer
(lists of operations on named quantities). The routes follow from the family and the question, so that they are known
for every generated problem. In domain are bars, rectangle, triangle and table (4 to 7 steps); out of domain are lshape
and grid (8 or 9 steps).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mmprm.mini import drawing

Quantity = str | int  # a named quantity or a constant


@dataclass(frozen=True)
class Operation:
    """`out` = `left` sign `right`; sign is +, - or *."""

    out: str
    sign: str
    left: Quantity
    right: Quantity


Routes = tuple[tuple[Operation, ...], ...]


@dataclass(frozen=True)
class MiniTask:
    """What is asked of a figure. Each route derives the quantity `answer` from the readings."""

    question: str
    readings: Mapping[str, int]
    routes: Routes


@dataclass(frozen=True)
class MiniFamily:
    """A kind of figure and the questions that it allows.

    ranges: the smallest and largest value of each quantity that the figure shows. questions: for each question the
    routes to its answer. draw: draws the figure of some values.
    """

    ranges: Mapping[str, tuple[int, int]]
    questions: Mapping[str, Routes]
    draw: Callable[[Mapping[str, int], random.Random], drawing.Canvas]

    def task(self, rng: random.Random) -> MiniTask:
        """Draw the values, and one of the questions if there are several."""
        readings = {name: rng.randint(*limits) for name, limits in self.ranges.items()}
        questions = list(self.questions)
        question = questions[rng.randrange(len(questions))] if len(questions) > 1 else questions[0]
        return MiniTask(question, readings, self.questions[question])


def apply(sign: str, left: int, right: int) -> int:
    """Compute one operation."""
    return left + right if sign == "+" else left - right if sign == "-" else left * right


_BARS: dict[str, Routes] = {
    "Find A * B + C.": ((Operation("p", "*", "A", "B"), Operation("answer", "+", "p", "C")),),
    "Find A + B * C.": ((Operation("p", "*", "B", "C"), Operation("answer", "+", "A", "p")),),
    "Find (A + B) * C.": (
        (Operation("s", "+", "A", "B"), Operation("answer", "*", "s", "C")),
        (Operation("p", "*", "A", "C"), Operation("q", "*", "B", "C"), Operation("answer", "+", "p", "q")),
    ),
}
_RECTANGLE: dict[str, Routes] = {
    "Find the perimeter.": (
        (Operation("s", "+", "width", "height"), Operation("answer", "*", 2, "s")),
        (Operation("p", "*", 2, "width"), Operation("q", "*", 2, "height"), Operation("answer", "+", "p", "q")),
    )
}
_TRIANGLE: dict[str, Routes] = {
    "Find the third angle.": (
        (Operation("s", "+", "a", "b"), Operation("answer", "-", 180, "s")),
        (Operation("r", "-", 180, "a"), Operation("answer", "-", "r", "b")),
        (Operation("r", "-", 180, "b"), Operation("answer", "-", "r", "a")),
    )
}
_PEN, _CUP = Operation("p", "*", "pen price", "pen count"), Operation("q", "*", "cup price", "cup count")
_TABLE: dict[str, Routes] = {"Find the total cost.": ((_PEN, _CUP, Operation("answer", "+", "p", "q")),)}
_LOWER, _UPPER = Operation("p", "*", "a", "b"), Operation("q", "*", "c", "d")
_LSHAPE: dict[str, Routes] = {
    "Find the area of two such figures.": (
        (_LOWER, _UPPER, Operation("s", "+", "p", "q"), Operation("answer", "*", 2, "s")),
        (_LOWER, _UPPER, Operation("t", "*", 2, "p"), Operation("u", "*", 2, "q"), Operation("answer", "+", "t", "u")),
    )
}


def _grid_routes(scale: int) -> Routes:
    across, up = Operation("h", "-", "Qx", "Px"), Operation("v", "-", "Qy", "Py")
    return (
        (across, up, Operation("s", "+", "h", "v"), Operation("answer", "*", scale, "s")),
        (
            across,
            up,
            Operation("t", "*", scale, "h"),
            Operation("u", "*", scale, "v"),
            Operation("answer", "+", "t", "u"),
        ),
    )


_GRID = {
    f"A square is {scale} m wide. How long is the path from P to Q along the lines?": _grid_routes(scale)
    for scale in range(2, 10)
}
IN_DOMAIN = ("bars", "rectangle", "triangle", "table")
OUT_OF_DOMAIN = ("lshape", "grid")
_DIGIT = (2, 9)
FAMILIES = {
    "bars": MiniFamily(dict.fromkeys("ABC", _DIGIT), _BARS, drawing.bars),
    "rectangle": MiniFamily({"width": (5, 39), "height": (5, 39)}, _RECTANGLE, drawing.rectangle),
    "triangle": MiniFamily({"a": (20, 80), "b": (20, 80)}, _TRIANGLE, drawing.triangle),
    "table": MiniFamily(
        dict.fromkeys(("pen price", "pen count", "cup price", "cup count"), _DIGIT), _TABLE, drawing.table
    ),
    "lshape": MiniFamily(dict.fromkeys("abcd", _DIGIT), _LSHAPE, drawing.lshape),
    "grid": MiniFamily({"Px": (1, 4), "Py": (1, 4), "Qx": (6, 9), "Qy": (6, 9)}, _GRID, drawing.grid),
}
