"""Encoded pictures that engines may read in different ways."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image, ImageDraw


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def transparent() -> bytes:
    image = Image.new("RGBA", (64, 48), (0, 0, 0, 0))
    ImageDraw.Draw(image).rectangle((8, 8, 40, 40), outline=(0, 0, 0, 255), fill=(200, 0, 0, 100))
    return encoded(image, "PNG")
