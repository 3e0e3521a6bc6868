"""One of the many right solutions of a task, in words. In: a task and a random generator. Out: steps and the answer.

The order of the steps is a random order in which every quantity is known before it is used; operands, connecting
words and a closing step vary. So no right solution is *the* right text, which Best-of-N would otherwise be misled by.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from mmprm.mini.families import Op, Task, apply

_READ = ("{name} = {value}", "{name} is {value}", "read {name} = {value}")
_COMPUTE = ("{line}", "so {line}", "then {line}", "we get {line}")
_CLOSE = ("the answer is {value}", "the result is {value}")


def read_text(name: str, value: int, rng: random.Random) -> str:
    """A statement of one reading of the figure."""
    return rng.choice(_READ).format(name=name, value=value)


def fact_text(sign: str, left: int, right: int, value: int, rng: random.Random) -> str:
    """A statement of one fact of arithmetic; the operands of + and * come in either order."""
    if sign != "-" and rng.random() < 0.5:
        left, right = right, left
    return f"{left} {sign} {right} = {value}"


def op_text(op: Op, known: Mapping[str, int], rng: random.Random) -> tuple[str, str]:
    """An operation in names, and in the values that they stand for: ("p = A * B = ", "3 * 4 = 12").

    The operands of + and * come in either order, the same in both. A wrong choice of quantities, a value that is not
    the quantity's and a wrong result are three errors that each show in the text.
    """
    left, right = op.left, op.right
    if op.sign != "-" and rng.random() < 0.5:
        left, right = right, left
    first, second = (known[q] if isinstance(q, str) else q for q in (left, right))
    value = apply(op.sign, first, second)
    return f"{op.out} = {left} {op.sign} {right} = ", f"{first} {op.sign} {second} = {value}"


def solve(task: Task, rng: random.Random) -> tuple[list[str], str]:
    """A right solution: (steps, answer)."""
    known = dict(task.readings)
    route = rng.choice(task.routes)
    used = {quantity for op in route for quantity in (op.left, op.right) if isinstance(quantity, str)}
    todo: list[str | Op] = [name for name in task.readings if name in used] + list(route)
    done: set[str] = set()
    steps: list[str] = []
    while todo:
        ready = [item for item in todo if isinstance(item, str) or _operands(item) <= done]
        item = rng.choice(ready)
        todo.remove(item)
        if isinstance(item, str):
            steps.append(read_text(item, known[item], rng))
            done.add(item)
            continue
        line = "".join(op_text(item, known, rng))
        known[item.out] = int(line.rsplit(" = ", 1)[1])
        done.add(item.out)
        steps.append(rng.choice(_COMPUTE).format(line=line))
    if len(steps) < 7 and rng.random() < 0.3:
        steps.append(rng.choice(_CLOSE).format(value=known["answer"]))
    return steps, str(known["answer"])


def _operands(op: Op) -> set[str]:
    return {quantity for quantity in (op.left, op.right) if isinstance(quantity, str)}
