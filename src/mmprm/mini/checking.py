"""The family `check`: a figure, statements about it, and how many of them are wrong. In: a task. Out: a checked figure.

For training a policy alone. A policy that is fine-tuned on nothing but solutions soon forgets how to judge one, and a
reward model that starts from it has to learn that anew from a few thousand paths. Large models are spared this by what
else is in their fine-tuning data.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from mmprm.mini.families import FAMILIES, Task
from mmprm.mini.statements import some_operation, some_reading

NAME = "check"
_QUESTION = "How many of these are wrong?"


@dataclass(frozen=True)
class MiniCheck:
    """A checked figure: the question, a step a statement, the answer."""

    question: str
    steps: list[str]
    answer: str
    image: bytes


def check(family: str, task: Task, rng: random.Random) -> MiniCheck:
    """Statements about the figure of a task, all its quantities among them, checked one after another."""
    names = list(task.readings)
    statements = [some_reading(task, name, rng.random() < 0.6, rng) for name in names]
    statements += [some_operation(names, task.readings, rng) for _ in range(5 - len(names))]
    rng.shuffle(statements)
    lines = [statement.said + statement.values for statement in statements]
    steps = [f"{line}? {'Yes' if one.right else 'No'}" for line, one in zip(lines, statements, strict=True)]
    wrong = sum(not statement.right for statement in statements)
    image = FAMILIES[family].draw(task.readings, rng).png()
    return MiniCheck("\n".join([_QUESTION, *lines]), steps, str(wrong), image)
