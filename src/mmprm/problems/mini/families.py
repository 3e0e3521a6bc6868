"""The families of mini problems: which values a figure has, what is asked, and the ways to work it out.

In: a random generator. Out: a `Task`: readings of the figure, routes (lists of operations on named quantities), answer.
In domain are bars, rectangle, triangle and table (4 to 7 steps); out of domain are lshape and grid (8 or 9 steps).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mmprm.problems.mini import drawing

Quantity = str | int  # a named quantity or a constant


@dataclass(frozen=True)
class Op:
    """`out` = `left` sign `right`; sign is +, - or *."""

    out: str
    sign: str
    left: Quantity
    right: Quantity


@dataclass(frozen=True)
class Task:
    """What is asked of a figure. Each route derives the quantity `answer` from the readings."""

    question: str
    readings: Mapping[str, int]
    routes: tuple[tuple[Op, ...], ...]


@dataclass(frozen=True)
class Family:
    """A kind of figure and the questions that it allows. `task(rng)` draws the values; `draw` makes the picture."""

    task: Callable[[random.Random], Task]
    draw: Callable[[Mapping[str, int], random.Random], drawing.Canvas]


def apply(sign: str, left: int, right: int) -> int:
    """The value of one operation."""
    return left + right if sign == "+" else left - right if sign == "-" else left * right


def _bars(rng: random.Random) -> Task:
    readings = {name: rng.randint(2, 9) for name in "ABC"}
    kind = rng.randrange(3)
    routes: tuple[tuple[Op, ...], ...]
    if kind == 0:
        question, routes = "Find A * B + C.", ((Op("p", "*", "A", "B"), Op("answer", "+", "p", "C")),)
    elif kind == 1:
        question, routes = "Find A + B * C.", ((Op("p", "*", "B", "C"), Op("answer", "+", "A", "p")),)
    else:
        question = "Find (A + B) * C."
        routes = (
            (Op("s", "+", "A", "B"), Op("answer", "*", "s", "C")),
            (Op("p", "*", "A", "C"), Op("q", "*", "B", "C"), Op("answer", "+", "p", "q")),
        )
    return Task(question, readings, routes)


def _rectangle(rng: random.Random) -> Task:
    readings = {"width": rng.randint(5, 39), "height": rng.randint(5, 39)}
    routes = (
        (Op("s", "+", "width", "height"), Op("answer", "*", 2, "s")),
        (Op("p", "*", 2, "width"), Op("q", "*", 2, "height"), Op("answer", "+", "p", "q")),
    )
    return Task("Find the perimeter.", readings, routes)


def _triangle(rng: random.Random) -> Task:
    readings = {"a": rng.randint(20, 80), "b": rng.randint(20, 80)}
    routes = (
        (Op("s", "+", "a", "b"), Op("answer", "-", 180, "s")),
        (Op("r", "-", 180, "a"), Op("answer", "-", "r", "b")),
        (Op("r", "-", 180, "b"), Op("answer", "-", "r", "a")),
    )
    return Task("Find the third angle.", readings, routes)


def _table(rng: random.Random) -> Task:
    readings = {name: rng.randint(2, 9) for name in ("pen price", "pen count", "cup price", "cup count")}
    pen, cup = Op("p", "*", "pen price", "pen count"), Op("q", "*", "cup price", "cup count")
    return Task("Find the total cost.", readings, ((pen, cup, Op("answer", "+", "p", "q")),))


def _lshape(rng: random.Random) -> Task:
    readings = {name: rng.randint(2, 9) for name in "abcd"}
    lower, upper = Op("p", "*", "a", "b"), Op("q", "*", "c", "d")
    routes = (
        (lower, upper, Op("s", "+", "p", "q"), Op("answer", "*", 2, "s")),
        (lower, upper, Op("t", "*", 2, "p"), Op("u", "*", 2, "q"), Op("answer", "+", "t", "u")),
    )
    return Task("Find the area of two such figures.", readings, routes)


def _grid(rng: random.Random) -> Task:
    readings = {"Px": rng.randint(1, 4), "Py": rng.randint(1, 4), "Qx": rng.randint(6, 9), "Qy": rng.randint(6, 9)}
    scale = rng.randint(2, 9)
    across, up = Op("h", "-", "Qx", "Px"), Op("v", "-", "Qy", "Py")
    routes = (
        (across, up, Op("s", "+", "h", "v"), Op("answer", "*", scale, "s")),
        (across, up, Op("t", "*", scale, "h"), Op("u", "*", scale, "v"), Op("answer", "+", "t", "u")),
    )
    return Task(f"A square is {scale} m wide. How long is the path from P to Q along the lines?", readings, routes)


IN_DOMAIN = ("bars", "rectangle", "triangle", "table")
OUT_OF_DOMAIN = ("lshape", "grid")
FAMILIES: dict[str, Family] = {
    "bars": Family(_bars, drawing.bars),
    "rectangle": Family(_rectangle, drawing.rectangle),
    "triangle": Family(_triangle, drawing.triangle),
    "table": Family(_table, drawing.table),
    "lshape": Family(_lshape, drawing.lshape),
    "grid": Family(_grid, drawing.grid),
}
