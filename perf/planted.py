"""A synthetic pool with planted faults, for `perf.intake`. In: a seed. Out: rows, and what is wrong with each.

A row is its question, answer, figure and id, as people's own tables have them. What it is made of follows from seed and
number alone, so that a duplicate is made from the number of the row that it repeats. Hard negatives, which must be
kept, are as near to the faults as they can be: the same words with another drawn number, another question about one
picture, several blanks, (1) and (2) that ask nothing, "proved" and "drawn" where nothing is to be proved or drawn.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from perf import planted_texts as texts

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
class Figure:
    """What is drawn: a kind, numbers, letters; `look` draws it in another size, line and place."""

    kind: str
    numbers: tuple[int, ...]
    letters: str
    shape: int
    look: int = 0


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
    """What row `number` is: a fault, a kind of hard negative, or `plain`; the first rows are plain."""
    place = random.Random(f"{seed}/plan/{number}").random() * 100
    for name, share in [*((name, share) for name, (share, _) in FAULTS.items()), *HARD.items()]:
        if place < share:
            return name if number >= 20 else "plain"
        place -= share
    return "plain"


def item(seed: int, number: int, pool: str = "pool") -> Item:
    """The problem that row `number` has where nothing is wrong with it."""
    rng = random.Random(f"{seed}/{pool}/{number}")
    story = texts.story(rng)
    kind = rng.choice(["polygon", "bars", "table", "circle", "axes"])
    drawn = tuple(rng.randint(2, 99) for _ in range(4))
    letters = "".join(rng.sample("ABCDEFGHKLMNPQRST", 4))
    return Item(story, Figure(kind, drawn, letters, rng.randrange(10**6)))


def rows(seed: int, size: int, tested: int) -> Iterator[tuple[dict[str, Any], str]]:
    """Each row with what it was planned to be; tested: how many problems the benchmark has."""
    for number in range(size):
        what = plan(seed, number)
        rng = random.Random(f"{seed}/make/{number}")
        made = _MAKERS.get(what, _plain)(seed, number, tested, rng)
        yield {"id": f"{number:07d}", **made}, what


def tested_rows(seed: int, size: int) -> Iterator[dict[str, Any]]:
    """The benchmark."""
    for number in range(size):
        one = item(seed, number, "tested")
        yield {"id": f"{number:05d}", **_row(one.story.question, one.answer, png(draw(one.figure)))}


def _row(question: str, answer: str, image: bytes) -> dict[str, Any]:
    return {"question": question, "answer": answer, "image": {"bytes": image, "path": None}}


def _plain(seed: int, number: int, tested: int, rng: random.Random) -> dict[str, Any]:
    one = item(seed, number)
    return _row(one.story.question, one.answer, png(draw(one.figure)))


def _earlier(seed: int, number: int, rng: random.Random) -> int:
    """A plain row before this one."""
    while plan(seed, other := rng.randrange(number)) != "plain":
        pass
    return other


def _exact_copy(seed: int, number: int, tested: int, rng: random.Random) -> dict[str, Any]:
    return _plain(seed, _earlier(seed, number, rng), tested, rng)


def _near_copy(seed: int, number: int, tested: int, rng: random.Random) -> dict[str, Any]:
    one = item(seed, _earlier(seed, number, rng))
    return _row(one.story.reworded(rng), one.answer, again(draw(one.figure), rng))


def _tested_copy(seed: int, number: int, tested: int, rng: random.Random) -> dict[str, Any]:
    one = item(seed, rng.randrange(tested), "tested")
    return _row(one.story.question, one.answer, png(draw(one.figure)))


def _tested_near(seed: int, number: int, tested: int, rng: random.Random) -> dict[str, Any]:
    one = item(seed, rng.randrange(tested), "tested")
    return _row(one.story.reworded(rng), one.answer, again(draw(one.figure), rng))


def _tested_redrawn(seed: int, number: int, tested: int, rng: random.Random) -> dict[str, Any]:
    one = item(seed, rng.randrange(tested), "tested")
    other = replace(one.figure, look=rng.randrange(1, 10**6), shape=rng.randrange(10**6))
    return _row(one.story.reworded(rng), one.answer, png(draw(other)))


def _tested_template(seed: int, number: int, tested: int, rng: random.Random) -> dict[str, Any]:
    one = item(seed, rng.randrange(tested), "tested")
    return _row(one.story.renumbered(rng).question, str(rng.randint(100, 999)), png(draw(item(seed, number).figure)))


def _one_number(seed: int, number: int, tested: int, rng: random.Random) -> dict[str, Any]:
    """The words of an earlier row, and its figure with one drawn number changed: another problem."""
    one = item(seed, _earlier(seed, number, rng))
    at = rng.randrange(len(one.figure.numbers))
    value = (one.figure.numbers[at] - 2 + rng.randint(9, 60)) % 98 + 2
    changed = (*one.figure.numbers[:at], value, *one.figure.numbers[at + 1 :])
    return _row(one.story.question, str(1000 + number), png(draw(replace(one.figure, numbers=changed))))


def _other_question(seed: int, number: int, tested: int, rng: random.Random) -> dict[str, Any]:
    """The figure of an earlier row beside a question of its own."""
    return _row(*_told(item(seed, number)), png(draw(item(seed, _earlier(seed, number, rng)).figure)))


def _told(one: Item) -> tuple[str, str]:
    return one.story.question, one.answer


def _with_text(kind: str) -> Callable[[int, int, int, random.Random], dict[str, Any]]:
    def make(seed: int, number: int, tested: int, rng: random.Random) -> dict[str, Any]:
        one = item(seed, number)
        question, answer = texts.MADE[kind](one.story, rng)
        return _row(question, answer, png(draw(one.figure)))

    return make


def _with_image(image: Callable[[Figure, random.Random], bytes]) -> Callable[..., dict[str, Any]]:
    def make(seed: int, number: int, tested: int, rng: random.Random) -> dict[str, Any]:
        one = item(seed, number)
        return _row(one.story.question, one.answer, image(one.figure, rng))

    return make


def _broken(figure: Figure, rng: random.Random) -> bytes:
    whole = png(draw(figure))
    return rng.choice(
        [whole[: len(whole) // 2], b"%PDF-1.4 " + whole[:80], b"", whole[:200] + b"\x00" * 60 + whole[260:]]
    )


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


def png(image: Image.Image) -> bytes:
    """Encoded without loss."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def again(image: Image.Image, rng: random.Random) -> bytes:
    """The same picture as another site has it: scaled, compressed."""
    scale = rng.choice([1, 1, 0.75, 0.9, 1.25])
    size = (round(image.width * scale), round(image.height * scale))
    file = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(file, *rng.choice([("JPEG",), ("WEBP",), ("PNG",)]), quality=75)
    return file.getvalue()


def draw(figure: Figure) -> Image.Image:
    """A figure with its numbers and letters in it."""
    rng, look = random.Random(figure.shape), random.Random(f"{figure.shape}/{figure.look}")
    width, height = rng.randint(180, 360), rng.randint(150, 300)
    image = Image.new("RGB", (width, height), look.choice(["white", "white", "#f6f3ea"]))
    pen = ImageDraw.Draw(image)
    font: Any = ImageFont.load_default(look.randint(14, 18))
    ink = look.choice(["black", "black", "#203080"])
    spots = _KINDS[figure.kind](pen, rng, (width, height), ink, figure.numbers)
    for (x, y), number, letter in zip(spots, figure.numbers, figure.letters, strict=False):
        pen.text((x, y), f"{letter} {number}", fill=ink, font=font)
    return image


Spots = list[tuple[float, float]]


def _polygon(pen: Any, rng: random.Random, size: tuple[int, int], ink: str, numbers: tuple[int, ...]) -> Spots:
    corners = [
        (
            size[0] * (0.12 + 0.6 * (at in (1, 2)) + rng.random() * 0.15),
            size[1] * (0.1 + 0.6 * (at > 1) + rng.random() * 0.15),
        )
        for at in range(rng.choice([3, 4]))
    ]
    pen.polygon(corners, outline=ink, width=rng.choice([1, 2]))
    if rng.random() < 0.6:
        pen.line([corners[0], corners[2]], fill=ink, width=1)
    return [*corners, (size[0] * 0.45, size[1] * 0.45)]


def _bars(pen: Any, rng: random.Random, size: tuple[int, int], ink: str, numbers: tuple[int, ...]) -> Spots:
    step, ground = size[0] / (len(numbers) + 1), size[1] * 0.85
    pen.line([(step / 2, ground), (size[0] - 10, ground)], fill=ink)
    tops = [ground - (ground - 30) * number / 100 for number in numbers]
    for at, top in enumerate(tops):
        pen.rectangle(
            [step * (at + 0.6), top, step * (at + 1.2), ground], outline=ink, fill=rng.choice(["#c8d8f0", "#eee"])
        )
    return [(step * (at + 0.6), top - 20) for at, top in enumerate(tops)]


def _table(pen: Any, rng: random.Random, size: tuple[int, int], ink: str, numbers: tuple[int, ...]) -> Spots:
    n_rows = rng.choice([2, 4])
    columns = len(numbers) // n_rows + 1
    wide, high = (size[0] - 20) / columns, (size[1] - 20) / n_rows
    for row in range(n_rows + 1):
        pen.line([(10, 10 + row * high), (10 + columns * wide, 10 + row * high)], fill=ink)
    for column in range(columns + 1):
        pen.line([(10 + column * wide, 10), (10 + column * wide, 10 + n_rows * high)], fill=ink)
    return [(16 + (at // n_rows) * wide, 16 + (at % n_rows) * high) for at in range(len(numbers))]


def _circle(pen: Any, rng: random.Random, size: tuple[int, int], ink: str, numbers: tuple[int, ...]) -> Spots:
    radius = min(size) * rng.uniform(0.3, 0.42)
    x, y = size[0] / 2, size[1] / 2
    pen.ellipse([x - radius, y - radius, x + radius, y + radius], outline=ink, width=2)
    ends = [(x + radius * (0.9 - 1.8 * rng.random()), y + radius * (0.9 - 1.8 * rng.random())) for _ in range(4)]
    pen.line(ends, fill=ink, width=1)
    return [(a * 0.9, b * 0.9) for a, b in ends]


def _axes(pen: Any, rng: random.Random, size: tuple[int, int], ink: str, numbers: tuple[int, ...]) -> Spots:
    pen.line([(20, size[1] - 20), (size[0] - 8, size[1] - 20)], fill=ink)
    pen.line([(20, size[1] - 20), (20, 8)], fill=ink)
    points = sorted((rng.uniform(30, size[0] - 50), rng.uniform(20, size[1] - 50)) for _ in range(4))
    pen.line(points, fill=ink, width=2)
    return points


_KINDS: dict[str, Callable[..., Spots]] = {
    "polygon": _polygon,
    "bars": _bars,
    "table": _table,
    "circle": _circle,
    "axes": _axes,
}
