"""What the mini base model is taught: reading figures, single facts of arithmetic, single operations on quantities that
were named before, and judging single statements by the figure, by arithmetic, and by what is asked.

In: a split, a kind and a random generator. Out: a `Lesson`, a text of which marked spans are learnt. Lessons hold
neither step tags nor `<prm>`, and no solution is learnt; figures come from the split sft (or dev, to measure), never
from the split test.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from mmprm.mini.families import Task, apply
from mmprm.mini.problems import FAMILIES, draw_task
from mmprm.mini.solutions import fact_text, op_text, read_text
from mmprm.mini.statements import Statement, some_op, some_operation, some_reading, wrong_operation_for, wrong_value

KINDS = ("read", "judge_figure", "compute", "judge_facts", "use", "use_figure", "judge_use", "judge_plan")
Fact = tuple[str, int, int]
Span = tuple[int, int]


@dataclass(frozen=True)
class Lesson:
    """A text and the character spans [start, end) to learn; `image` is encoded, or None for text alone.

    `checked` are those of the spans that have one right reply (a value, a judgement); the others are one of many (which
    quantity comes next).
    """

    text: str
    spans: tuple[Span, ...]
    checked: tuple[Span, ...]
    image: bytes | None = None


class _Writer:
    def __init__(self, request: str, image: bytes | None = None) -> None:
        picture = "" if image is None else "<IMG_CONTEXT>\n"
        self.text = f"<|im_start|>user\n{picture}{request}<|im_end|>\n<|im_start|>assistant\n"
        self.image = image
        self.spans: list[Span] = []
        self.checked: list[Span] = []

    def given(self, text: str) -> None:
        self.text += text

    def learnt(self, text: str) -> None:
        self.spans.append((len(self.text), len(self.text) + len(text)))
        self.text += text

    def asked(self, text: str) -> None:
        """Learnt, and what a model is measured on."""
        self.learnt(text)
        self.checked.append(self.spans[-1])

    def lesson(self) -> Lesson:
        return Lesson(self.text, tuple(self.spans), tuple(self.checked), self.image)


def _figure(split: str, rng: random.Random) -> tuple[Task, bytes]:
    """A task of any family, and its figure."""
    family = rng.choice(list(FAMILIES))
    task = draw_task(family, split, rng)
    return task, FAMILIES[family].draw(task.readings, rng).png()


def _shuffled(task: Task, rng: random.Random) -> list[str]:
    names = list(task.readings)
    rng.shuffle(names)
    return names


def task_facts(task: Task, rng: random.Random) -> list[Fact]:
    """The facts of arithmetic along one route of the task: (sign, left, right)."""
    known = dict(task.readings)
    facts = []
    for op in rng.choice(task.routes):
        left, right = (known[q] if isinstance(q, str) else q for q in (op.left, op.right))
        known[op.out] = apply(op.sign, left, right)
        facts.append((op.sign, left, right))
    return facts


def _some_facts(split: str, count: int, rng: random.Random) -> list[Fact]:
    facts: list[Fact] = []
    while len(facts) < count:
        facts += task_facts(draw_task(rng.choice(list(FAMILIES)), split, rng), rng)
    rng.shuffle(facts)
    return facts[:count]


def _fact_statement(fact: Fact, rng: random.Random) -> Statement:
    sign, left, other = fact
    value = apply(sign, left, other)
    right = rng.random() < 0.5
    near = [apply("+", left, other), abs(left - other), value + left, value - left, value + other]
    shown = str(value if right else wrong_value(value, near, rng))
    return Statement(fact_text(sign, left, other, int(shown), rng)[: -len(shown)], shown, right)


def _judge(writer: _Writer, statements: Iterable[Statement]) -> None:
    for statement in statements:
        writer.given(statement.said)
        (writer.learnt if statement.right else writer.given)(statement.values)
        writer.given("? ")
        writer.asked("Yes" if statement.right else "No")
        writer.given("\n")


def _name_readings(writer: _Writer, names: list[str], task: Task, rng: random.Random) -> None:
    for name in names:
        value = str(task.readings[name])
        writer.learnt(read_text(name, task.readings[name], rng)[: -len(value)])
        writer.asked(value)
        writer.learnt("\n")


def _operate(writer: _Writer, names: list[str], task: Task, count: int, rng: random.Random) -> None:
    """Operations, each on quantities of the figure or results of those before it."""
    known, names = dict(task.readings), list(names)
    for _ in range(count):
        op = some_op(names, known, rng)
        said, fact = op_text(op, known, rng)
        writer.learnt(said)
        writer.asked(fact)
        writer.learnt("\n")
        known[op.out] = int(fact.rsplit(" ", 1)[1])
        names = [*(name for name in names if name != op.out), op.out]


def _given_readings(writer: _Writer, names: list[str], task: Task, rng: random.Random) -> None:
    for name in names:
        writer.given(read_text(name, task.readings[name], rng) + "\n")


def _read(split: str, rng: random.Random) -> Lesson:
    task, image = _figure(split, rng)
    writer = _Writer("Read the figure.", image)
    _name_readings(writer, _shuffled(task, rng), task, rng)
    return writer.lesson()


def _judge_figure(split: str, rng: random.Random) -> Lesson:
    task, image = _figure(split, rng)
    writer = _Writer("Check each statement.", image)
    statements = [
        some_reading(task, name, right, rng)
        for name in task.readings
        for right in rng.sample([True, False], rng.randint(1, 2))
    ]
    statements += [some_operation(list(task.readings), task.readings, rng) for _ in range(3)]
    rng.shuffle(statements)
    _judge(writer, statements)
    return writer.lesson()


def _compute(split: str, rng: random.Random) -> Lesson:
    writer = _Writer("Compute.")
    for sign, left, right in _some_facts(split, 10, rng):
        value = str(apply(sign, left, right))
        writer.given(fact_text(sign, left, right, int(value), rng)[: -len(value)])
        writer.asked(value + "\n")
    return writer.lesson()


def _judge_facts(split: str, rng: random.Random) -> Lesson:
    writer = _Writer("Check each statement.")
    _judge(writer, [_fact_statement(fact, rng) for fact in _some_facts(split, 10, rng)])
    return writer.lesson()


def _use(split: str, rng: random.Random) -> Lesson:
    task = draw_task(rng.choice(list(FAMILIES)), split, rng)
    writer, names = _Writer("Use the quantities."), _shuffled(task, rng)
    _given_readings(writer, names, task, rng)
    _operate(writer, names, task, 6, rng)
    return writer.lesson()


def _use_figure(split: str, rng: random.Random) -> Lesson:
    task, image = _figure(split, rng)
    writer, names = _Writer("Read and use the figure.", image), _shuffled(task, rng)
    _name_readings(writer, names, task, rng)
    _operate(writer, names, task, 4, rng)
    return writer.lesson()


def _judge_use(split: str, rng: random.Random) -> Lesson:
    task = draw_task(rng.choice(list(FAMILIES)), split, rng)
    writer, names = _Writer("Check each statement."), _shuffled(task, rng)
    _given_readings(writer, names, task, rng)
    _judge(writer, [some_operation(names, task.readings, rng) for _ in range(8)])
    return writer.lesson()


def _judge_plan(split: str, rng: random.Random) -> Lesson:
    """Single operations judged by what is asked too: is this one a part of any way to the answer?"""
    task = draw_task(rng.choice(list(FAMILIES)), split, rng)
    writer, names = _Writer(f"Check each statement.\n{task.question}"), _shuffled(task, rng)
    _given_readings(writer, names, task, rng)
    known = dict(task.readings)
    for op in rng.choice(task.routes):
        while rng.random() < 0.5:  # so that what was judged before tells nothing about the next
            _judge(writer, [wrong_operation_for(task, op, known, rng)])
        said, fact = op_text(op, known, rng)
        _judge(writer, [Statement(said, fact, right=True)])
        known[op.out] = int(fact.rsplit(" ", 1)[1])
    return writer.lesson()


def lesson(kind: str, split: str, rng: random.Random) -> Lesson:
    """One lesson of the kind (one of `KINDS`)."""
    writers = {
        "read": _read,
        "judge_figure": _judge_figure,
        "compute": _compute,
        "judge_facts": _judge_facts,
        "use": _use,
        "use_figure": _use_figure,
        "judge_use": _judge_use,
        "judge_plan": _judge_plan,
    }
    return writers[kind](split, rng)
