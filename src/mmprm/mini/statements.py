"""Statements about a figure, right or wrong, and right solutions. In: a task or its known values, a random generator.

Out: texts, or a `Statement` to judge. A solution's steps come in a random order in which every quantity is known before
it is used; operands, connecting words and a closing step vary. So there is no single right text, which would make
Best-of-N look better than it is.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from mmprm.mini.families import MiniTask, Operation, Quantity, apply

RESULTS = ("p", "q", "r", "s", "t", "u", "h", "v", "answer")
_LARGEST = 199  # largest result of an operation
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

    The operands of + and * come in random order, the same in both. Wrong quantities, wrong values of them and a wrong
    result are errors that are each visible in the text.
    """
    left, right = op.left, op.right
    if op.sign != "-" and rng.random() < 0.5:
        left, right = right, left
    first, second = (known[q] if isinstance(q, str) else q for q in (left, right))
    value = apply(op.sign, first, second)
    return f"{op.out} = {left} {op.sign} {right} = ", f"{first} {op.sign} {second} = {value}"


def solve(task: MiniTask, rng: random.Random) -> tuple[list[str], str]:
    """Write a right solution: (steps, answer)."""
    known, route = dict(task.readings), rng.choice(task.routes)
    used = {quantity for op in route for quantity in _operands(op)}
    todo: list[str | Operation] = [name for name in task.readings if name in used] + list(route)
    done, steps = set[str](), list[str]()
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


def some_op(names: list[str], known: Mapping[str, int], rng: random.Random) -> Operation:
    """Draw an operation on known quantities whose result is between 0 and _LARGEST."""
    while True:
        left, out = rng.choice(names), rng.choice(RESULTS)
        right: str | int = 2 if rng.random() < 0.15 else rng.choice([name for name in names if name != left])
        first, second = known[left], known[right] if isinstance(right, str) else right
        signs = ["+", "+"] + ["-"] * (first >= second) + ["*", "*"] * (first < 10 > second or right == 2)
        op = Operation(out, rng.choice(signs), left, right)
        if rng.random() < 0.1:  # angles
            op, first, second = Operation(out, "-", 180, left), 180, first
        if out not in (left, right) and 0 <= apply(op.sign, first, second) <= _LARGEST:
            return op


def wrong_value(value: int, near: list[int], rng: random.Random) -> int:
    """Draw a wrong value as models write them: off by a little or by ten, digits swapped, another quantity's value."""
    while True:
        kind = rng.random()
        if kind < 0.35:
            wrong = value + rng.choice([-3, -2, -1, 1, 2, 3])
        elif kind < 0.5:
            wrong = value + rng.choice([-20, -10, 10, 20])
        elif kind < 0.6:
            wrong = int(str(value)[::-1])
        elif kind < 0.75 and near:
            wrong = rng.choice(near)
        else:
            digits = list(str(value))
            digits[rng.randrange(len(digits))] = str(rng.randint(0, 9))
            wrong = int("".join(digits))
        if wrong != value and wrong >= 0:
            return wrong


@dataclass(frozen=True)
class Statement:
    """A statement to judge: `claim` names the quantities, `values` follow it; those of a right one are learnt too."""

    claim: str
    values: str
    right: bool


def _wrong_operation(op: Operation, known: Mapping[str, int], rng: random.Random) -> Statement:
    """State the operation with a wrong result, or with the right result of a wrong value."""
    names, fact = op_text(op, known, rng)
    left, sign, right, _, result = fact.split(" ")
    if rng.random() < 0.5:
        a, b, value = int(left), int(right), int(result)
        near = [a + b, abs(a - b), value + a, value + b]
        return Statement(names, f"{left} {sign} {right} = {wrong_value(value, near, rng)}", right=False)
    operands, index = [int(left), int(right)], rng.randrange(2)
    others = [value for value in known.values() if value != operands[index]]
    from_others = others and rng.random() < 0.5
    operands[index] = rng.choice(others) if from_others else wrong_value(operands[index], [], rng)
    return Statement(names, f"{operands[0]} {sign} {operands[1]} = {apply(sign, *operands)}", right=False)


def some_reading(task: MiniTask, name: str, right: bool, rng: random.Random) -> Statement:
    """State the reading of a quantity, right or wrong."""
    value = task.readings[name]
    others = [other for other in task.readings.values() if other != value]
    shown = value if right else wrong_value(value, others, rng)
    return Statement(read_text(name, shown, rng)[: -len(str(shown))], str(shown), right)


def some_operation(names: list[str], known: Mapping[str, int], rng: random.Random) -> Statement:
    """State an operation on known quantities, right or wrong with equal chance."""
    op = some_op(names, known, rng)
    right = rng.random() < 0.5
    return Statement(*op_text(op, known, rng), right=True) if right else _wrong_operation(op, known, rng)


def wrong_operation_for(task: MiniTask, op: Operation, known: Mapping[str, int], rng: random.Random) -> Statement:
    """State something wrong instead of `op`: computed wrongly, or rightly but on no route to the answer."""
    if rng.random() < 0.5:
        return _wrong_operation(op, known, rng)
    useful = {_meaning(step) for route in task.routes for step in route}
    choices: list[Quantity] = [*known, *(q for q in (op.left, op.right) if isinstance(q, int))]
    while True:
        left, right, sign, out = op.left, op.right, op.sign, op.out
        kind = rng.randrange(4)
        if kind == 0:
            sign = rng.choice("+-*")
        elif kind == 1:
            left = rng.choice(choices)
        elif kind == 2:
            right = rng.choice(choices)
        else:
            out = "answer"
        wrong = Operation(out, sign, left, right)
        first, second = (known[q] if isinstance(q, str) else q for q in (left, right))
        if _meaning(wrong) not in useful and left != right and 0 <= apply(sign, first, second) <= _LARGEST * 5:
            return Statement(*op_text(wrong, known, rng), right=False)


def _meaning(op: Operation) -> tuple[str, tuple[str, ...], bool]:
    """Return what tells operations apart: not the order of + and *, nor the name of a result other than `answer`."""
    operands = (str(op.left), str(op.right))
    return op.sign, operands if op.sign == "-" else tuple(sorted(operands)), op.out == "answer"
