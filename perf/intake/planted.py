"""A synthetic pool with planted faults. In: a seed. Out: rows, and the fault of each.

A row has a question, an answer, a figure and an id, as people's tables have them. Its content follows from seed and
number alone, so that a duplicate is made from the number of the row that it repeats. Hard negatives, which must be
kept, resemble the faults closely: the same words with another drawn number, another question about one
picture, several blanks, (1) and (2) that ask nothing, "proved" and "drawn" where nothing is to be proved or drawn.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from perf.intake import planted_texts as texts
from perf.intake.planted_figures import Figure, draw, png, recompressed

# Of each hundred rows, how many have a fault, and the rule (or "intake") that is to refuse them.
FAULTS: dict[str, tuple[int, str]] = {
    "broken_file": (1, "intake"),
    "picture_missing": (1, "image_missing"),
    "tiny": (1, "image_tiny"),
    "blank": (2, "image_blank"),
    "proof": (1, "proof"),
    "drawing": (1, "drawing"),
    "open": (1, "open_question"),
    "several": (2, "several_questions"),
    "unverifiable": (2, "unverifiable"),
    "exact_copy": (2, "near_duplicate"),
    "near_copy": (3, "near_duplicate"),
    "tested_copy": (1, "in_benchmark"),
    "tested_near": (1, "in_benchmark"),
    "tested_redrawn": (1, "in_benchmark"),
}
HARD = {
    "one_number": 3,
    "other_question": 3,
    "tested_template": 2,
    "blanks": 2,
    "listed": 1,
    "mentions": 2,
    "in_words": 1,
}


@dataclass(frozen=True)
class Item:
    """A problem before it is a row."""

    story: texts.Story
    figure: Figure

    @property
    def answer(self) -> str:
        """The gold answer."""
        return self.story.answer


def plan(seed: int, number: int) -> str:
    """Return what row `number` is: a fault, a kind of hard negative, or `plain`; the first rows are plain."""
    place = random.Random(f"{seed}/plan/{number}").random() * 100
    for name, share in [*((name, share) for name, (share, _) in FAULTS.items()), *HARD.items()]:
        if place < share:
            return name if number >= 20 else "plain"
        place -= share
    return "plain"


def item(seed: int, number: int, pool: str = "pool") -> Item:
    """Return the problem of row `number` before a fault is planted in it."""
    rng = random.Random(f"{seed}/{pool}/{number}")
    story = texts.story(rng)
    kind = rng.choice(["polygon", "bars", "table", "circle", "axes"])
    drawn = tuple(rng.randint(2, 99) for _ in range(4))
    letters = "".join(rng.sample("ABCDEFGHKLMNPQRST", 4))
    return Item(story, Figure(kind, drawn, letters, rng.randrange(10**6)))


def rows(seed: int, size: int, tested: int) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each row with its planned kind; tested: how many problems the benchmark has."""
    for number in range(size):
        what = plan(seed, number)
        rng = random.Random(f"{seed}/make/{number}")
        made = _MAKERS.get(what, _plain)(seed, number, tested, rng)
        yield {"id": f"{number:07d}", **made}, what


def tested_rows(seed: int, size: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of the benchmark, against which the pool is decontaminated."""
    for number in range(size):
        problem = item(seed, number, "tested")
        yield {"id": f"{number:05d}", **_row(problem.story.question, problem.answer, png(draw(problem.figure)))}


def _row(question: str, answer: str, image: bytes) -> dict[str, Any]:
    return {"question": question, "answer": answer, "image": {"bytes": image, "path": None}}


def _plain(seed: int, number: int, tested: int, rng: random.Random) -> dict[str, Any]:
    problem = item(seed, number)
    return _row(problem.story.question, problem.answer, png(draw(problem.figure)))


def _earlier(seed: int, number: int, rng: random.Random) -> int:
    """Draw the number of a plain row before this problem."""
    while plan(seed, other := rng.randrange(number)) != "plain":
        pass
    return other


def _exact_copy(seed: int, number: int, tested: int, rng: random.Random) -> dict[str, Any]:
    return _plain(seed, _earlier(seed, number, rng), tested, rng)


def _near_copy(seed: int, number: int, tested: int, rng: random.Random) -> dict[str, Any]:
    problem = item(seed, _earlier(seed, number, rng))
    return _row(problem.story.reworded(rng), problem.answer, recompressed(draw(problem.figure), rng))


def _tested_copy(seed: int, number: int, tested: int, rng: random.Random) -> dict[str, Any]:
    problem = item(seed, rng.randrange(tested), "tested")
    return _row(problem.story.question, problem.answer, png(draw(problem.figure)))


def _tested_near(seed: int, number: int, tested: int, rng: random.Random) -> dict[str, Any]:
    problem = item(seed, rng.randrange(tested), "tested")
    return _row(problem.story.reworded(rng), problem.answer, recompressed(draw(problem.figure), rng))


def _tested_redrawn(seed: int, number: int, tested: int, rng: random.Random) -> dict[str, Any]:
    problem = item(seed, rng.randrange(tested), "tested")
    other = replace(problem.figure, look=rng.randrange(1, 10**6), shape=rng.randrange(10**6))
    return _row(problem.story.reworded(rng), problem.answer, png(draw(other)))


def _tested_template(seed: int, number: int, tested: int, rng: random.Random) -> dict[str, Any]:
    problem = item(seed, rng.randrange(tested), "tested")
    return _row(
        problem.story.renumbered(rng).question, str(rng.randint(100, 999)), png(draw(item(seed, number).figure))
    )


def _one_number(seed: int, number: int, tested: int, rng: random.Random) -> dict[str, Any]:
    """Take the words of an earlier row, and its figure with one drawn number changed: another problem."""
    problem = item(seed, _earlier(seed, number, rng))
    at = rng.randrange(len(problem.figure.numbers))
    value = (problem.figure.numbers[at] - 2 + rng.randint(9, 60)) % 98 + 2
    changed = (*problem.figure.numbers[:at], value, *problem.figure.numbers[at + 1 :])
    return _row(problem.story.question, str(1000 + number), png(draw(replace(problem.figure, numbers=changed))))


def _other_question(seed: int, number: int, tested: int, rng: random.Random) -> dict[str, Any]:
    """Put the figure of an earlier row beside a new question."""
    return _row(*_told(item(seed, number)), png(draw(item(seed, _earlier(seed, number, rng)).figure)))


def _told(problem: Item) -> tuple[str, str]:
    return problem.story.question, problem.answer


def _with_text(kind: str) -> Callable[[int, int, int, random.Random], dict[str, Any]]:
    def make(seed: int, number: int, tested: int, rng: random.Random) -> dict[str, Any]:
        problem = item(seed, number)
        question, answer = texts.MADE[kind](problem.story, rng)
        return _row(question, answer, png(draw(problem.figure)))

    return make


def _with_image(image: Callable[[Figure, random.Random], bytes]) -> Callable[..., dict[str, Any]]:
    def make(seed: int, number: int, tested: int, rng: random.Random) -> dict[str, Any]:
        problem = item(seed, number)
        return _row(problem.story.question, problem.answer, image(problem.figure, rng))

    return make


def _broken(figure: Figure, rng: random.Random) -> bytes:
    data = png(draw(figure))
    return rng.choice([data[: len(data) // 2], b"%PDF-1.4 " + data[:80], b"", data[:200] + b"\x00" * 60 + data[260:]])


def _tiny(figure: Figure, rng: random.Random) -> bytes:
    return png(draw(figure).resize((rng.randint(4, 14), rng.randint(4, 14))))


def _blank(figure: Figure, rng: random.Random) -> bytes:
    size, level = draw(figure).size, rng.choice([255, 255, 0, 128, 240])
    image = Image.new("L", size, level)
    for _ in range(rng.choice([0, 0, 40])):  # specks of a scanner
        image.putpixel((rng.randrange(size[0]), rng.randrange(size[1])), abs(level - rng.randint(1, 40)))
    return png(image.convert("RGB"))


_MAKERS: Mapping[str, Callable[[int, int, int, random.Random], dict[str, Any]]] = {
    "exact_copy": _exact_copy,
    "near_copy": _near_copy,
    "tested_copy": _tested_copy,
    "tested_near": _tested_near,
    "tested_redrawn": _tested_redrawn,
    "tested_template": _tested_template,
    "one_number": _one_number,
    "other_question": _other_question,
    "broken_file": _with_image(_broken),
    "tiny": _with_image(_tiny),
    "blank": _with_image(_blank),
    **{kind: _with_text(kind) for kind in texts.MADE},
}
