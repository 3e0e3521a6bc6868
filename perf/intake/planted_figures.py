"""The figures of the synthetic pool. In: a Figure. Out: pictures, as encoded bytes."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw, ImageFont


@dataclass(frozen=True)
class Figure:
    """What is drawn: a kind, numbers, letters; `look` draws it in another size, line and place."""

    kind: str
    numbers: tuple[int, ...]
    letters: str
    shape: int
    look: int = 0


def png(image: Image.Image) -> bytes:
    """Encode without loss."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def recompressed(image: Image.Image, rng: random.Random) -> bytes:
    """Encode the picture as another site might publish it: scaled, compressed."""
    scale = rng.choice([1, 1, 0.75, 0.9, 1.25])
    size = (round(image.width * scale), round(image.height * scale))
    file = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(file, *rng.choice([("JPEG",), ("WEBP",), ("PNG",)]), quality=75)
    return file.getvalue()


def draw(figure: Figure) -> Image.Image:
    """Draw a figure with its numbers and letters in it."""
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
