"""Write one of the many right solutions of a task. In: a task and a random generator. Out: steps and the answer.

The steps come in a random order in which every quantity is known before it is used; operands, connecting words and a
closing step vary. So there is no single right text, which would make Best-of-N look better than it is.
"""

import random
from collections.abc import Mapping

from mmprm.mini.families import MiniTask, Operation, apply

_READ = ("{name} = {value}", "{name} is {value}", "read {name} = {value}")
_COMPUTE = ("{line}", "so {line}", "then {line}", "we get {line}")
_CLOSE = ("the answer is {value}", "the result is {value}")


def read_text(name: str, value: int, rng: random.Random) -> str:
    """State one reading of the figure."""
    return rng.choice(_READ).format(name=name, value=value)


def fact_text(sign: str, left: int, right: int, value: int, rng: random.Random) -> str:
    """State one fact of arithmetic; the operands of + and * come in random order."""
    if sign != "-" and rng.random() < 0.5:
        left, right = right, left
    return f"{left} {sign} {right} = {value}"


def op_text(op: Operation, known: Mapping[str, int], rng: random.Random) -> tuple[str, str]:
    """State an operation in names and in values: ("p = A * B = ", "3 * 4 = 12").

    The operands of + and * come in random order, the same in both. A wrong choice of quantities, a value that is not
    the quantity's and a wrong result are three errors that are each visible in the text.
    """
    left, right = op.left, op.right
    if op.sign != "-" and rng.random() < 0.5:
        left, right = right, left
    first, second = (known[q] if isinstance(q, str) else q for q in (left, right))
    value = apply(op.sign, first, second)
    return f"{op.out} = {left} {op.sign} {right} = ", f"{first} {op.sign} {second} = {value}"


def solve(task: MiniTask, rng: random.Random) -> tuple[list[str], str]:
    """Write a right solution: (steps, answer)."""
    known = dict(task.readings)
    route = rng.choice(task.routes)
    used = {quantity for op in route for quantity in _operands(op)}
    todo: list[str | Operation] = [name for name in task.readings if name in used] + list(route)
    done: set[str] = set()
    steps: list[str] = []
    while todo:
        item = rng.choice([item for item in todo if isinstance(item, str) or _operands(item) <= done])
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


def _operands(op: Operation) -> set[str]:
    return {quantity for quantity in (op.left, op.right) if isinstance(quantity, str)}
