"""Draw the figures of the mini world with Pillow. In: values and a random generator. Out: a `Canvas`, 128 x 128 pixels.

Positions, colours, line widths and letter sizes vary with the generator, so that reading a figure has to be learnt.
"""

import io
import random
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

SIZE = 128
_INKS = ["#202020", "#1f3a93", "#7b241c", "#145a32", "#4a235a"]
_FILLS = ["#aed6f1", "#f9e79f", "#abebc6", "#f5cba7", "#d7bde2", "#e5e7e9"]
_PAPERS = ["#ffffff", "#fbfbf5", "#f4f8fb"]


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


class Canvas:
    """A sheet of paper with one ink, one fill and one letter size."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.image = Image.new("RGB", (SIZE, SIZE), rng.choice(_PAPERS))
        self.draw = ImageDraw.Draw(self.image)
        self.ink, fill = rng.choice(_INKS), rng.choice(_FILLS)
        self.width, self.letters = rng.choice([1, 2]), rng.choice([19, 20, 21])
        self.style: dict[str, Any] = {"fill": fill, "outline": self.ink, "width": self.width}  # of a filled shape
        self.characters: list[tuple[str, float, float]] = []  # (character, x and y of its centre), for vision_lesson

    def jitter(self, spread: int) -> int:
        """Draw a displacement of at most `spread` pixels."""
        return self.rng.randint(-spread, spread)

    def text(self, x: float, y: float, text: str, size: int | None = None) -> None:
        """Write text centred at (x, y)."""
        font = _font(size or self.letters)
        self.draw.text((x, y), text, fill=self.ink, font=font, anchor="mm")
        left = x - font.getlength(text) / 2
        for character in text:
            width = font.getlength(character)
            self.characters.append((character, left + width / 2, y))
            left += width

    def png(self) -> bytes:
        """Encode the figure."""
        buffer = io.BytesIO()
        self.image.save(buffer, "PNG")
        return buffer.getvalue()


def bars(values: Mapping[str, int], rng: random.Random) -> Canvas:
    """Draw a bar chart: for each name a bar, its value above it and its name below it."""
    canvas = Canvas(rng)
    slot = 112 / len(values)
    shift = canvas.jitter(4)
    base = 104 + canvas.jitter(3)
    half = slot * rng.uniform(0.22, 0.32)
    for index, (name, value) in enumerate(values.items()):
        centre = 8 + shift + slot * (index + 0.5)
        top = base - 6 - value * 6
        canvas.draw.rectangle((centre - half, top, centre + half, base), fill=rng.choice(_FILLS), outline=canvas.ink)
        canvas.text(centre, top - 12, str(value))
        canvas.text(centre, base + 12, name, 17)
    canvas.draw.line((4, base, SIZE - 4, base), fill=canvas.ink, width=canvas.width)
    return canvas


def rectangle(values: Mapping[str, int], rng: random.Random) -> Canvas:
    """Draw a rectangle with its width written below and its height at the right."""
    canvas = Canvas(rng)
    wide, high = rng.randint(62, 76), rng.randint(48, 70)
    left, top = 10 + canvas.jitter(4), 14 + canvas.jitter(6)
    canvas.draw.rectangle((left, top, left + wide, top + high), **canvas.style)
    canvas.text(left + wide / 2, top + high + 14, str(values["width"]))
    canvas.text(left + wide + 18, top + high / 2, str(values["height"]))
    return canvas


def triangle(values: Mapping[str, int], rng: random.Random) -> Canvas:
    """Draw a triangle with two angles written at the lower corners and a question mark at the top."""
    canvas = Canvas(rng)
    left, right = (6 + canvas.jitter(3), 112 + canvas.jitter(4)), (122 + canvas.jitter(3), 112 + canvas.jitter(4))
    top = (64 + canvas.jitter(12), 14 + canvas.jitter(5))
    canvas.draw.polygon([left, right, top], **canvas.style)
    canvas.text(left[0] + 32, left[1] - 14, str(values["a"]))
    canvas.text(right[0] - 32, right[1] - 14, str(values["b"]))
    canvas.text(top[0], top[1] + 30, "?", 16)
    return canvas


def table(values: Mapping[str, int], rng: random.Random) -> Canvas:
    """Draw a price list: a row for each item, with its price and how many are bought."""
    canvas = Canvas(rng)
    x, y = 4 + canvas.jitter(2), 22 + canvas.jitter(6)
    columns = [x + 22, x + 63, x + 102]
    for column, heading in zip(columns[1:], ("price", "count"), strict=True):
        canvas.text(column, y, heading, 13)
    for row, item in enumerate(("pen", "cup")):
        line = y + 28 + 36 * row
        canvas.draw.line((x, line - 17, x + 118, line - 17), fill=canvas.ink, width=canvas.width)
        canvas.text(columns[0], line, item, 18)
        canvas.text(columns[1], line, str(values[f"{item} price"]))
        canvas.text(columns[2], line, str(values[f"{item} count"]))
    return canvas


def lshape(values: Mapping[str, int], rng: random.Random) -> Canvas:
    """Draw two joined rectangles: a and b are the sides of the lower one, c and d those of the upper one."""
    canvas = Canvas(rng)
    left, base = 24 + canvas.jitter(3), 104 + canvas.jitter(4)
    wide, low, narrow, high = 80, 34 + canvas.jitter(3), 38 + canvas.jitter(4), 42 + canvas.jitter(4)
    right, middle, ledge, top = left + wide, left + narrow, base - low, base - low - high
    corners = [(left, base), (right, base), (right, ledge), (middle, ledge), (middle, top), (left, top)]
    canvas.draw.polygon(corners, **canvas.style)
    canvas.draw.line((left, ledge, middle, ledge), fill=canvas.ink)
    canvas.text(left + wide / 2, base + 12, str(values["a"]))
    canvas.text(right + 12, base - low / 2, str(values["b"]))
    canvas.text(left + narrow / 2, top - 11, str(values["c"]))
    canvas.text(middle + 12, ledge - high / 2, str(values["d"]))
    return canvas


def grid(values: Mapping[str, int], rng: random.Random) -> Canvas:
    """Draw two points on squared paper, P at the lower left and Q at the upper right, with their coordinates."""
    canvas = Canvas(rng)
    step, offset = 14 + rng.randint(0, 3), rng.randint(0, 8)
    for position in range(offset, SIZE, step):
        canvas.draw.line((position, 0, position, SIZE), fill="#d5d8dc")
        canvas.draw.line((0, position, SIZE, position), fill="#d5d8dc")
    for name, across, down in (("P", 34, 92), ("Q", 94, 36)):
        x, y = across + canvas.jitter(4), down + canvas.jitter(4)
        canvas.draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=canvas.ink)
        canvas.text(x, y - 15, name, 16)
        canvas.text(x, y + 15, f"{values[name + 'x']},{values[name + 'y']}")
    return canvas
