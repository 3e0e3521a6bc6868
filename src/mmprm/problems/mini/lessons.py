"""What the mini base model is taught: reading figures, single facts of arithmetic, also on quantities that were named
before, and judging single statements.

In: a split, a kind and a random generator. Out: a `Lesson`, a text of which marked spans are learnt. Lessons hold
neither step tags, nor whole solutions, nor `<prm>`; figures come from the split sft (or dev, to measure), never from
the split test.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from mmprm.problems.mini import FAMILIES, draw_task
from mmprm.problems.mini.families import Task, apply
from mmprm.problems.mini.wording import fact_text, read_text

KINDS = ("read", "judge_figure", "compute", "judge_facts", "use")
Fact = tuple[str, int, int]


@dataclass(frozen=True)
class Lesson:
    """A text and the character spans [start, end) to learn; `image` is encoded, or None for text alone."""

    text: str
    spans: tuple[tuple[int, int], ...]
    image: bytes | None = None


class _Writer:
    def __init__(self, text: str = "") -> None:
        self.text = text
        self.spans: list[tuple[int, int]] = []

    def given(self, text: str) -> None:
        self.text += text

    def learnt(self, text: str) -> None:
        self.spans.append((len(self.text), len(self.text) + len(text)))
        self.text += text

    def lesson(self, image: bytes | None) -> Lesson:
        return Lesson(self.text, tuple(self.spans), image)


def _chat(request: str, image: bool) -> _Writer:
    picture = "<IMG_CONTEXT>\n" if image else ""
    return _Writer(f"<|im_start|>user\n{picture}{request}<|im_end|>\n<|im_start|>assistant\n")


def task_facts(task: Task, rng: random.Random) -> list[Fact]:
    """The facts of arithmetic along one route of the task: (sign, left, right)."""
    known = dict(task.readings)
    facts = []
    for op in rng.choice(task.routes):
        left, right = (known[q] if isinstance(q, str) else q for q in (op.left, op.right))
        known[op.out] = apply(op.sign, left, right)
        facts.append((op.sign, left, right))
    return facts


def wrong_value(value: int, near: list[int], rng: random.Random) -> int:
    """A wrong value of the sorts that are met: off by a little, by ten, digits swapped, or another quantity's."""
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


def _fact_statement(fact: Fact, right: bool, rng: random.Random) -> str:
    sign, left, other = fact
    value = apply(sign, left, other)
    near = [apply("+", left, other), abs(left - other), value + left, value - left, value + other]
    return fact_text(sign, left, other, value if right else wrong_value(value, near, rng), rng)


def _judge(writer: _Writer, statement: str, right: bool) -> None:
    writer.given(f"{statement}? ")
    writer.learnt("Yes" if right else "No")
    writer.given("\n")


def _read(split: str, rng: random.Random) -> Lesson:
    family = rng.choice(list(FAMILIES))
    task = draw_task(family, split, rng)
    writer = _chat("Read the figure.", image=True)
    names = list(task.readings)
    rng.shuffle(names)
    for name in names:
        before, value = read_text(name, task.readings[name], rng), str(task.readings[name])
        writer.given(before[: -len(value)])
        writer.learnt(value)
        writer.given("\n")
    return writer.lesson(FAMILIES[family].draw(task.readings, rng).png())


def _judge_figure(split: str, rng: random.Random) -> Lesson:
    family = rng.choice(list(FAMILIES))
    task = draw_task(family, split, rng)
    writer = _chat("Check each statement.", image=True)
    statements: list[tuple[str, bool]] = []
    for name, value in task.readings.items():
        for right in rng.sample([True, False], rng.randint(1, 2)):
            others = [other for other in task.readings.values() if other != value]
            shown = value if right else wrong_value(value, others, rng)
            statements.append((read_text(name, shown, rng), right))
    for fact in task_facts(task, rng):
        right = rng.random() < 0.5
        statements.append((_fact_statement(fact, right, rng), right))
    rng.shuffle(statements)
    for statement, right in statements:
        _judge(writer, statement, right)
    return writer.lesson(FAMILIES[family].draw(task.readings, rng).png())


def _some_facts(split: str, count: int, rng: random.Random) -> list[Fact]:
    facts: list[Fact] = []
    while len(facts) < count:
        facts += task_facts(draw_task(rng.choice(list(FAMILIES)), split, rng), rng)
    rng.shuffle(facts)
    return facts[:count]


def _compute(split: str, rng: random.Random) -> Lesson:
    writer = _chat("Compute.", image=False)
    for sign, left, right in _some_facts(split, 10, rng):
        value = str(apply(sign, left, right))
        writer.given(fact_text(sign, left, right, int(value), rng)[: -len(value)])
        writer.learnt(value + "\n")
    return writer.lesson(None)


def _use(split: str, rng: random.Random) -> Lesson:
    """Single operations on quantities that were named before; `that` is the result of the line above."""
    task = draw_task(rng.choice(list(FAMILIES)), split, rng)
    writer = _chat("Use the quantities.", image=False)
    names = list(task.readings)
    rng.shuffle(names)
    for name in names:
        writer.given(read_text(name, task.readings[name], rng) + "\n")
    known: dict[str, int] = dict(task.readings)
    for _ in range(6):
        left = "that" if "that" in known and rng.random() < 0.5 else rng.choice(names)
        right: str | int = 2 if rng.random() < 0.2 else rng.choice([name for name in names if name != left])
        value = known[right] if isinstance(right, str) else right
        signs = ["+", "+"] + ["-"] * (known[left] >= value) + ["*", "*"] * (known[left] < 10 > value or right == 2)
        sign = rng.choice(signs)
        result = apply(sign, known[left], value)
        if result > 199:
            continue
        writer.given(f"{left} {sign} {right}: ")
        writer.learnt(fact_text(sign, known[left], value, result, rng) + "\n")
        known["that"] = result
    return writer.lesson(None)


def _judge_facts(split: str, rng: random.Random) -> Lesson:
    writer = _chat("Check each statement.", image=False)
    for fact in _some_facts(split, 10, rng):
        right = rng.random() < 0.5
        _judge(writer, _fact_statement(fact, right, rng), right)
    return writer.lesson(None)


def lesson(kind: str, split: str, rng: random.Random) -> Lesson:
    """One lesson of the kind (one of `KINDS`)."""
    writers = {
        "read": _read,
        "judge_figure": _judge_figure,
        "compute": _compute,
        "judge_facts": _judge_facts,
        "use": _use,
    }
    return writers[kind](split, rng)
