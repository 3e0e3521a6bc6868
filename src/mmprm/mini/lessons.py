"""Write the lessons of the mini base model: reading figures, facts of arithmetic, operations on named quantities, and
judging statements by the figure, by arithmetic, and by what is asked.

In: a kind, a split and a random generator. Out: a `Lesson`, a text with marked spans that are learnt. Lessons contain
neither step tags nor `<prm>`, and no solution is learnt. Figures come from the split sft (dev to measure), never from
the split test.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass

from mmprm.mini.families import MiniTask, apply
from mmprm.mini.problems import FAMILIES, draw_task
from mmprm.mini.solutions import fact_text, op_text, read_text
from mmprm.mini.statements import Statement, some_op, some_operation, some_reading, wrong_operation_for, wrong_value

Fact = tuple[str, int, int]  # sign, left, right
Span = tuple[int, int]


@dataclass(frozen=True)
class Lesson:
    """A text and the character spans [start, end) to learn; `image` is encoded, or None for text only.

    `checked` are the spans that have one right reply (a value, a judgement); the others have several (which quantity
    comes next).
    """

    text: str
    spans: tuple[Span, ...]
    checked: tuple[Span, ...]
    image: bytes | None = None


class _Writer:
    """Builds a lesson from texts that are given, learnt, or learnt and checked."""

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

    def checked_text(self, text: str) -> None:
        """Add a text to learn on which a model is measured too."""
        self.learnt(text)
        self.checked.append(self.spans[-1])

    def lesson(self) -> Lesson:
        return Lesson(self.text, tuple(self.spans), tuple(self.checked), self.image)


def _figure(split: str, rng: random.Random) -> tuple[MiniTask, bytes]:
    """Draw a task of any family, and its figure."""
    family = rng.choice(list(FAMILIES))
    task = draw_task(family, split, rng)
    return task, FAMILIES[family].draw(task.readings, rng).png()


def _shuffled(task: MiniTask, rng: random.Random) -> list[str]:
    names = list(task.readings)
    rng.shuffle(names)
    return names


def _with_readings(split: str, rng: random.Random, request: str) -> tuple[_Writer, list[str], MiniTask]:
    """Begin a lesson that states the readings of a figure as given."""
    task = draw_task(rng.choice(list(FAMILIES)), split, rng)
    writer, names = _Writer(request.format(question=task.question)), _shuffled(task, rng)
    for name in names:
        writer.given(read_text(name, task.readings[name], rng) + "\n")
    return writer, names, task


def task_facts(task: MiniTask, rng: random.Random) -> list[Fact]:
    """Return the facts of arithmetic along one route of the task."""
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
    sign, first, second = fact
    value = apply(sign, first, second)
    right = rng.random() < 0.5
    near = [first + second, abs(first - second), value + first, value - first, value + second]
    shown = str(value if right else wrong_value(value, near, rng))
    return Statement(fact_text(sign, first, second, int(shown), rng)[: -len(shown)], shown, right)


def _judge(writer: _Writer, statements: Iterable[Statement]) -> None:
    for statement in statements:
        writer.given(statement.claim)
        (writer.learnt if statement.right else writer.given)(statement.values)
        writer.given("? ")
        writer.checked_text("Yes" if statement.right else "No")
        writer.given("\n")


def _name_readings(writer: _Writer, names: list[str], task: MiniTask, rng: random.Random) -> None:
    for name in names:
        value = str(task.readings[name])
        writer.learnt(read_text(name, task.readings[name], rng)[: -len(value)])
        writer.checked_text(value)
        writer.learnt("\n")


def _operate(writer: _Writer, names: list[str], task: MiniTask, count: int, rng: random.Random) -> None:
    """Write operations, each on quantities of the figure or results of earlier operations."""
    known, names = dict(task.readings), list(names)
    for _ in range(count):
        op = some_op(names, known, rng)
        claim, fact = op_text(op, known, rng)
        writer.learnt(claim)
        writer.checked_text(fact)
        writer.learnt("\n")
        known[op.out] = int(fact.rsplit(" ", 1)[1])
        names = [*(name for name in names if name != op.out), op.out]


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
        writer.checked_text(value + "\n")
    return writer.lesson()


def _judge_facts(split: str, rng: random.Random) -> Lesson:
    writer = _Writer("Check each statement.")
    _judge(writer, [_fact_statement(fact, rng) for fact in _some_facts(split, 10, rng)])
    return writer.lesson()


def _use(split: str, rng: random.Random) -> Lesson:
    writer, names, task = _with_readings(split, rng, "Use the quantities.")
    _operate(writer, names, task, 6, rng)
    return writer.lesson()


def _use_figure(split: str, rng: random.Random) -> Lesson:
    task, image = _figure(split, rng)
    writer, names = _Writer("Read and use the figure.", image), _shuffled(task, rng)
    _name_readings(writer, names, task, rng)
    _operate(writer, names, task, 4, rng)
    return writer.lesson()


def _judge_use(split: str, rng: random.Random) -> Lesson:
    writer, names, task = _with_readings(split, rng, "Check each statement.")
    _judge(writer, [some_operation(names, task.readings, rng) for _ in range(8)])
    return writer.lesson()


def _judge_plan(split: str, rng: random.Random) -> Lesson:
    """Judge operations by what is asked too: is this one on a route to the answer?"""
    writer, _, task = _with_readings(split, rng, "Check each statement.\n{question}")
    known = dict(task.readings)
    for op in rng.choice(task.routes):
        while rng.random() < 0.5:  # so that earlier judgements say nothing about the next one
            _judge(writer, [wrong_operation_for(task, op, known, rng)])
        claim, fact = op_text(op, known, rng)
        _judge(writer, [Statement(claim, fact, right=True)])
        known[op.out] = int(fact.rsplit(" ", 1)[1])
    return writer.lesson()


_WRITERS = {
    "read": _read,
    "judge_figure": _judge_figure,
    "compute": _compute,
    "judge_facts": _judge_facts,
    "use": _use,
    "use_figure": _use_figure,
    "judge_use": _judge_use,
    "judge_plan": _judge_plan,
}
KINDS = tuple(_WRITERS)


def lesson(kind: str, split: str, rng: random.Random) -> Lesson:
    """Write a lesson of one of `KINDS`."""
    return _WRITERS[kind](split, rng)
