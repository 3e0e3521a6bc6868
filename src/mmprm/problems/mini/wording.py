"""One of the many right solutions of a task, in words. In: a task and a random generator. Out: steps and the answer.

The order of the steps is a random order in which every quantity is known before it is used; operands, connecting
words and a closing step vary. So no right solution is *the* right text, which Best-of-N would otherwise be misled by.
"""

from __future__ import annotations

import random

from mmprm.problems.mini.families import Op, Task, apply

_READ = ("{name} = {value}", "{name} is {value}", "read {name} = {value}")
_COMPUTE = ("{fact}", "so {fact}", "then {fact}", "we get {fact}")
_CLOSE = ("the answer is {value}", "the result is {value}")


def read_text(name: str, value: int, rng: random.Random) -> str:
    """A statement of one reading of the figure."""
    return rng.choice(_READ).format(name=name, value=value)


def fact_text(sign: str, left: int, right: int, value: int, rng: random.Random) -> str:
    """A statement of one fact of arithmetic; the operands of + and * come in either order."""
    if sign != "-" and rng.random() < 0.5:
        left, right = right, left
    return f"{left} {sign} {right} = {value}"


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
        left, right = (known[q] if isinstance(q, str) else q for q in (item.left, item.right))
        known[item.out] = apply(item.sign, left, right)
        done.add(item.out)
        fact = fact_text(item.sign, left, right, known[item.out], rng)
        steps.append(rng.choice(_COMPUTE).format(fact=fact))
    if len(steps) < 7 and rng.random() < 0.3:
        steps.append(rng.choice(_CLOSE).format(value=known["answer"]))
    return steps, str(known["answer"])


def _operands(op: Op) -> set[str]:
    return {quantity for quantity in (op.left, op.right) if isinstance(quantity, str)}
