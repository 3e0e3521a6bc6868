"""The families of mini problems: which values a figure has, what is asked, and the ways to work it out.

In: a random generator. Out: a `Task`: readings of the figure, routes (lists of operations on named quantities), answer.
The routes follow from the family and the question, so that whoever has a problem can tell what is a way to its answer.
In domain are bars, rectangle, triangle and table (4 to 7 steps); out of domain are lshape and grid (8 or 9 steps).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mmprm.mini import drawing

Quantity = str | int  # a named quantity or a constant


@dataclass(frozen=True)
class Op:
    """`out` = `left` sign `right`; sign is +, - or *."""

    out: str
    sign: str
    left: Quantity
    right: Quantity


Routes = tuple[tuple[Op, ...], ...]


@dataclass(frozen=True)
class Task:
    """What is asked of a figure. Each route derives the quantity `answer` from the readings."""

    question: str
    readings: Mapping[str, int]
    routes: Routes


@dataclass(frozen=True)
class Family:
    """A kind of figure and the questions that it allows. `task(rng)` draws the values; `draw` makes the picture;
    `routes(question)` gives the ways to the answer, None where it is no question of the family; `names` are what a
    figure shows."""

    task: Callable[[random.Random], Task]
    draw: Callable[[Mapping[str, int], random.Random], drawing.Canvas]
    routes: Callable[[str], Routes | None]
    names: tuple[str, ...]


def apply(sign: str, left: int, right: int) -> int:
    """The value of one operation."""
    return left + right if sign == "+" else left - right if sign == "-" else left * right


_BARS: dict[str, Routes] = {
    "Find A * B + C.": ((Op("p", "*", "A", "B"), Op("answer", "+", "p", "C")),),
    "Find A + B * C.": ((Op("p", "*", "B", "C"), Op("answer", "+", "A", "p")),),
    "Find (A + B) * C.": (
        (Op("s", "+", "A", "B"), Op("answer", "*", "s", "C")),
        (Op("p", "*", "A", "C"), Op("q", "*", "B", "C"), Op("answer", "+", "p", "q")),
    ),
}
_RECTANGLE: dict[str, Routes] = {
    "Find the perimeter.": (
        (Op("s", "+", "width", "height"), Op("answer", "*", 2, "s")),
        (Op("p", "*", 2, "width"), Op("q", "*", 2, "height"), Op("answer", "+", "p", "q")),
    )
}
_TRIANGLE: dict[str, Routes] = {
    "Find the third angle.": (
        (Op("s", "+", "a", "b"), Op("answer", "-", 180, "s")),
        (Op("r", "-", 180, "a"), Op("answer", "-", "r", "b")),
        (Op("r", "-", 180, "b"), Op("answer", "-", "r", "a")),
    )
}
_PEN, _CUP = Op("p", "*", "pen price", "pen count"), Op("q", "*", "cup price", "cup count")
_TABLE: dict[str, Routes] = {"Find the total cost.": ((_PEN, _CUP, Op("answer", "+", "p", "q")),)}
_LOWER, _UPPER = Op("p", "*", "a", "b"), Op("q", "*", "c", "d")
_LSHAPE: dict[str, Routes] = {
    "Find the area of two such figures.": (
        (_LOWER, _UPPER, Op("s", "+", "p", "q"), Op("answer", "*", 2, "s")),
        (_LOWER, _UPPER, Op("t", "*", 2, "p"), Op("u", "*", 2, "q"), Op("answer", "+", "t", "u")),
    )
}
_GRID = "A square is {scale} m wide. How long is the path from P to Q along the lines?"


def _bars(rng: random.Random) -> Task:
    readings = {name: rng.randint(2, 9) for name in "ABC"}
    question = list(_BARS)[rng.randrange(3)]
    return Task(question, readings, _BARS[question])


def _rectangle(rng: random.Random) -> Task:
    ((question, routes),) = _RECTANGLE.items()
    return Task(question, {"width": rng.randint(5, 39), "height": rng.randint(5, 39)}, routes)


def _triangle(rng: random.Random) -> Task:
    ((question, routes),) = _TRIANGLE.items()
    return Task(question, {"a": rng.randint(20, 80), "b": rng.randint(20, 80)}, routes)


def _table(rng: random.Random) -> Task:
    ((question, routes),) = _TABLE.items()
    return Task(question, {name: rng.randint(2, 9) for name in FAMILIES["table"].names}, routes)


def _lshape(rng: random.Random) -> Task:
    ((question, routes),) = _LSHAPE.items()
    return Task(question, {name: rng.randint(2, 9) for name in "abcd"}, routes)


def _grid(rng: random.Random) -> Task:
    readings = {"Px": rng.randint(1, 4), "Py": rng.randint(1, 4), "Qx": rng.randint(6, 9), "Qy": rng.randint(6, 9)}
    question = _GRID.format(scale=rng.randint(2, 9))
    routes = _grid_routes(question)
    assert routes is not None, "the question was made from the pattern"
    return Task(question, readings, routes)


def _grid_routes(question: str) -> Routes | None:
    found = re.fullmatch(re.escape(_GRID).replace(r"\{scale\}", r"(\d+)"), question)
    if found is None:
        return None
    scale = int(found[1])
    across, up = Op("h", "-", "Qx", "Px"), Op("v", "-", "Qy", "Py")
    return (
        (across, up, Op("s", "+", "h", "v"), Op("answer", "*", scale, "s")),
        (across, up, Op("t", "*", scale, "h"), Op("u", "*", scale, "v"), Op("answer", "+", "t", "u")),
    )


IN_DOMAIN = ("bars", "rectangle", "triangle", "table")
OUT_OF_DOMAIN = ("lshape", "grid")
FAMILIES: dict[str, Family] = {
    "bars": Family(_bars, drawing.bars, _BARS.get, ("A", "B", "C")),
    "rectangle": Family(_rectangle, drawing.rectangle, _RECTANGLE.get, ("width", "height")),
    "triangle": Family(_triangle, drawing.triangle, _TRIANGLE.get, ("a", "b")),
    "table": Family(_table, drawing.table, _TABLE.get, ("pen price", "pen count", "cup price", "cup count")),
    "lshape": Family(_lshape, drawing.lshape, _LSHAPE.get, ("a", "b", "c", "d")),
    "grid": Family(_grid, drawing.grid, _grid_routes, ("Px", "Py", "Qx", "Qy")),
}
