"""One picture, as it is compared with others. In: encoded bytes that intake let in. Out: a `Picture`.

Three views, from cheap and coarse to fine: a perceptual hash (imagehash's pHash, 256 bits) finds candidates, a small
grey copy has the last word, for figures that differ by a drawn digit have nearly the same hash; the hash of all pixels
says "the same". Seen as a model is shown it: turned by its EXIF, transparency laid on white.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIDE = 64  # of the small copy, in pixels
HASH_BYTES = 32
FLIPS = 14  # bits of the hash that a near picture may have otherwise; see near.py before raising it
BLURRED = 48  # grey levels (of 255) by which a blurred spot of the small copies may differ
ASPECT = 1.04  # ratio of the aspect ratios
_CONTENT = 6  # grey levels from the median that make a spot of the small copy content

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """`thumb`: SIDE * SIDE grey levels, row by row; `detail`: the share of its spots that are not background."""

    pixels: bytes
    hash: bytes
    thumb: bytes
    width: int
    height: int
    detail: float


def look(data: bytes) -> Picture:
    """The picture's views; raises UserError where the bytes are no image, which intake would have refused."""
    import imagehash
    from PIL import Image

    from mmprm.models import decode_image

    shown = decode_image(data)
    grey = shown.convert("L")
    small = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.uint8)
    bits = imagehash.phash(grey, hash_size=16).hash
    away = np.abs(small.astype(np.int16) - int(np.median(small)))
    return Picture(
        pixels=hashlib.sha256(repr(shown.size).encode() + shown.tobytes()).digest()[:16],
        hash=np.packbits(bits.ravel()).tobytes(),
        thumb=small.tobytes(),
        width=shown.width,
        height=shown.height,
        detail=float((away > _CONTENT).mean()),
    )


def flips(one: Bytes, other: Bytes) -> NDArray[np.int64]:
    """Bits that differ between hashes, (..., HASH_BYTES) each."""
    return np.bitwise_count(one ^ other).sum(axis=-1, dtype=np.int64)


def near(one: bytes, other: bytes) -> bool:
    """Do two small copies show the same, up to compression and scaling?

    Blurred before they are compared: what scaling moves by a part of a spot cancels out there, another digit does not.
    """
    levels = [np.frombuffer(thumb, dtype=np.uint8).reshape(SIDE, SIDE).astype(np.int16) for thumb in (one, other)]
    apart = np.pad(levels[0] - levels[1], 1, mode="edge")
    rows = apart[:-2] + 2 * apart[1:-1] + apart[2:]
    blurred = rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]
    return bool(np.abs(blurred).max() <= 16 * BLURRED)
