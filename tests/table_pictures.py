"""Encoded pictures for the tests' tables."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image


def picture(seed: int = 0, size: tuple[int, int] = (24, 16)) -> bytes:
    """A PNG that differs by its seed."""
    image = Image.new("RGB", size)
    image.putdata([((x + seed) * 37 % 256, x * 91 % 256, seed % 256) for x in range(size[0] * size[1])])
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def hub_image(seed: int = 0) -> dict[str, Any]:
    """A picture as the hub's parquet files hold it."""
    return {"bytes": picture(seed), "path": f"{seed}.png"}
