"""Decode the images of problems. In: encoded files (PNG, JPEG, ...). Out: PIL images, as models are shown them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from mmprm.runtime.errors import UserError

if TYPE_CHECKING:
    from PIL import Image


def open_image(data: bytes, formats: tuple[str, ...] | None = None) -> Image.Image:
    """Read the header of an encoded image; its pixels are decoded on first use.

    formats: the formats that may be tried (Pillow's names), None: all. Raises whatever Pillow's decoders raise.
    """
    from PIL import Image

    return Image.open(io.BytesIO(data), formats=formats)


def decode_image(data: bytes) -> Image.Image:
    """Decode an image to RGB, turned as its EXIF orientation says, transparency laid on white.

    White, because drawings with a transparent background have black lines. UserError where it cannot be decoded.
    """
    from PIL import Image, ImageOps

    try:
        image = ImageOps.exif_transpose(open_image(data))
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            image = image.convert("RGBA")
            background = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(background, image)
        elif image.mode.startswith("I;16"):
            image = image.point(lambda value: value / 256).convert("L")  # Pillow would clip 16 bits to 255, not scale
        return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"an image of {len(data)} bytes cannot be decoded: {error}") from error
