"""Write the lessons of the mini base model. In: a kind, a split, a random generator. Out: a `Lesson`.

Lessons read figures, state facts of arithmetic and operations on named quantities, and judge statements by the figure,
by arithmetic and by what is asked. They contain neither step tags nor `<prm>`, and no solution is learnt. Figures come
from the lessons' own split sft (dev to measure); no problem of it is in another split of the mini world than sft.
"""

import random
from collections.abc import Iterable

from mmprm.mini import statements
from mmprm.mini.families import FAMILIES, MiniTask, apply
from mmprm.mini.splits import draw_lesson_task
from mmprm.mini.statements import Statement

Fact = tuple[str, int, int]  # sign, left, right
Spans = tuple[tuple[int, int], ...]


class Lesson:
    """A text and the character spans [start, end) to learn. `checked` are those that have one right reply (a value, a
    judgement), on which a model is measured too; the others have several. `image` is encoded, None for text only."""

    def __init__(self, request: str, image: bytes | None = None) -> None:
        picture = "" if image is None else "<IMG_CONTEXT>\n"
        self.text = f"<|im_start|>user\n{picture}{request}<|im_end|>\n<|im_start|>assistant\n"
        self.image = image
        self.spans: Spans = ()
        self.checked: Spans = ()

    def add(self, text: str, *, learnt: bool = False, checked: bool = False) -> None:
        """Append a text that is given, learnt, or learnt and checked."""
        span = (len(self.text), len(self.text) + len(text))
        self.text += text
        self.spans += (span,) * (learnt or checked)
        self.checked += (span,) * checked


def _figure(split: str, rng: random.Random) -> tuple[MiniTask, bytes]:
    """Draw a task of any family, and its figure."""
    family = rng.choice(list(FAMILIES))
    task = draw_lesson_task(family, split, rng)
    return task, FAMILIES[family].draw(task.readings, rng).png()


def _shuffled(task: MiniTask, rng: random.Random) -> list[str]:
    names = list(task.readings)
    rng.shuffle(names)
    return names


def _with_readings(split: str, rng: random.Random, request: str) -> tuple[Lesson, list[str], MiniTask]:
    """Begin a lesson that states the readings of a figure as given."""
    task = draw_lesson_task(rng.choice(list(FAMILIES)), split, rng)
    lesson, names = Lesson(request.format(question=task.question)), _shuffled(task, rng)
    for name in names:
        lesson.add(statements.read_text(name, task.readings[name], rng) + "\n")
    return lesson, names, task


def task_facts(task: MiniTask, rng: random.Random) -> list[Fact]:
    """Return the facts of arithmetic along one route of the task."""
    known, facts = dict(task.readings), []
    for op in rng.choice(task.routes):
        left, right = (known[q] if isinstance(q, str) else q for q in (op.left, op.right))
        known[op.out] = apply(op.sign, left, right)
        facts.append((op.sign, left, right))
    return facts


def _some_facts(split: str, count: int, rng: random.Random) -> list[Fact]:
    facts: list[Fact] = []
    while len(facts) < count:
        facts += task_facts(draw_lesson_task(rng.choice(list(FAMILIES)), split, rng), rng)
    rng.shuffle(facts)
    return facts[:count]


def _fact_statement(fact: Fact, rng: random.Random) -> Statement:
    sign, first, second = fact
    value = apply(sign, first, second)
    right = rng.random() < 0.5
    near = [first + second, abs(first - second), value + first, value - first, value + second]
    shown = str(value if right else statements.wrong_value(value, near, rng))
    return Statement(statements.fact_text(sign, first, second, int(shown), rng)[: -len(shown)], shown, right)


def _judge(lesson: Lesson, judged: Iterable[Statement]) -> None:
    for statement in judged:
        lesson.add(statement.claim)
        lesson.add(statement.values, learnt=statement.right)
        lesson.add("? ")
        lesson.add("Yes" if statement.right else "No", checked=True)
        lesson.add("\n")


def _name_readings(lesson: Lesson, names: list[str], task: MiniTask, rng: random.Random) -> None:
    for name in names:
        value = str(task.readings[name])
        lesson.add(statements.read_text(name, task.readings[name], rng)[: -len(value)], learnt=True)
        lesson.add(value, checked=True)
        lesson.add("\n", learnt=True)


def _operate(lesson: Lesson, names: list[str], task: MiniTask, count: int, rng: random.Random) -> None:
    """Write operations, each on quantities of the figure or results of earlier operations."""
    known, names = dict(task.readings), list(names)
    for _ in range(count):
        op = statements.some_op(names, known, rng)
        claim, fact = statements.op_text(op, known, rng)
        lesson.add(claim, learnt=True)
        lesson.add(fact, checked=True)
        lesson.add("\n", learnt=True)
        known[op.out] = int(fact.rsplit(" ", 1)[1])
        names = [*(name for name in names if name != op.out), op.out]


def _read(split: str, rng: random.Random) -> Lesson:
    task, image = _figure(split, rng)
    lesson = Lesson("Read the figure.", image)
    _name_readings(lesson, _shuffled(task, rng), task, rng)
    return lesson


def _judge_figure(split: str, rng: random.Random) -> Lesson:
    task, image = _figure(split, rng)
    lesson = Lesson("Check each statement.", image)
    judged = [
        statements.some_reading(task, name, right, rng)
        for name in task.readings
        for right in rng.sample([True, False], rng.randint(1, 2))
    ]
    judged += [statements.some_operation(list(task.readings), task.readings, rng) for _ in range(3)]
    rng.shuffle(judged)
    _judge(lesson, judged)
    return lesson


def _compute(split: str, rng: random.Random) -> Lesson:
    lesson = Lesson("Compute.")
    for sign, left, right in _some_facts(split, 10, rng):
        value = str(apply(sign, left, right))
        lesson.add(statements.fact_text(sign, left, right, int(value), rng)[: -len(value)])
        lesson.add(value + "\n", checked=True)
    return lesson


def _judge_facts(split: str, rng: random.Random) -> Lesson:
    lesson = Lesson("Check each statement.")
    _judge(lesson, [_fact_statement(fact, rng) for fact in _some_facts(split, 10, rng)])
    return lesson


def _use(split: str, rng: random.Random) -> Lesson:
    lesson, names, task = _with_readings(split, rng, "Use the quantities.")
    _operate(lesson, names, task, 6, rng)
    return lesson


def _use_figure(split: str, rng: random.Random) -> Lesson:
    task, image = _figure(split, rng)
    lesson, names = Lesson("Read and use the figure.", image), _shuffled(task, rng)
    _name_readings(lesson, names, task, rng)
    _operate(lesson, names, task, 4, rng)
    return lesson


def _judge_use(split: str, rng: random.Random) -> Lesson:
    lesson, names, task = _with_readings(split, rng, "Check each statement.")
    _judge(lesson, [statements.some_operation(names, task.readings, rng) for _ in range(8)])
    return lesson


def _judge_plan(split: str, rng: random.Random) -> Lesson:
    """Judge operations by what is asked too: is this one on a route to the answer?"""
    lesson, _, task = _with_readings(split, rng, "Check each statement.\n{question}")
    known = dict(task.readings)
    for op in rng.choice(task.routes):
        while rng.random() < 0.5:  # so that earlier judgements say nothing about the next one
            _judge(lesson, [statements.wrong_operation_for(task, op, known, rng)])
        claim, fact = statements.op_text(op, known, rng)
        _judge(lesson, [Statement(claim, fact, right=True)])
        known[op.out] = int(fact.rsplit(" ", 1)[1])
    return lesson


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
