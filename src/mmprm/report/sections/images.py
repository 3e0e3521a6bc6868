"""Images of problems for pages and cards. In: encoded images. Out: the same or smaller ones, as bytes or data URIs."""

import base64
import io
from typing import Any

from mmprm.data.image_decoder import decode_image
from mmprm.runtime.errors import UserError

_THUMBNAIL_SIDE = 160  # pixels
_MAX_IMAGE = 300_000  # bytes; larger images are shown smaller
_MAX_SIDE = 640  # pixels of an image that is shown smaller
_TYPES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"RIFF": "webp", b"BM": "bmp"}


def thumbnail(image: bytes) -> bytes | None:
    """Return the image as a small PNG; None where it cannot be decoded."""
    return _smaller(image, _THUMBNAIL_SIDE, "PNG", optimize=True)


def data_uri(image: bytes) -> str | None:
    """Return the image as a data URI, a large one at a smaller size; None where it cannot be shown."""
    kind = next((kind for magic, kind in _TYPES.items() if image.startswith(magic)), None)
    shown: bytes | None = image
    if kind is None or len(image) > _MAX_IMAGE:
        kind, shown = "jpeg", _smaller(image, _MAX_SIDE, "JPEG", quality=85)
    return f"data:image/{kind};base64,{base64.b64encode(shown).decode()}" if shown else None


def _smaller(image: bytes, side: int, kind: str, **options: Any) -> bytes | None:
    try:
        small = decode_image(image)
    except UserError:
        return None
    small.thumbnail((side, side))
    out = io.BytesIO()
    small.save(out, kind, **options)
    return out.getvalue()
