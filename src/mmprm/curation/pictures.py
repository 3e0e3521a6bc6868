"""One picture, as it is compared with others. In: encoded bytes that intake let in. Out: a `Picture`.

Three views, from coarse to fine: a perceptual hash (imagehash's pHash, 256 bits) finds candidates; a grey copy of at
most SIDE pixels has the last word, for figures that differ by one drawn digit often have the same hash; the hash of all
pixels says "the same". Seen as a model is shown it: turned by its EXIF, transparency laid on white.

Why the copy is that large: of 491 pairs of drawn figures that differ by a digit or a letter, and of 324 pictures
(drawn, and of MM-K12) beside themselves, scaled by 0.75 to 1.25 and compressed, copies of 320 pixels told 99 % of the
former and 98 to 100 % of the latter rightly; copies of 192 pixels half of the latter, copies of 64 fewer.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 400  # of the grey copy at most, in pixels
HASH_BYTES = 32
FLIPS = 14  # bits of the hash that a near picture may have otherwise; see near.py before raising it
BLURRED = 96  # grey levels (of 255) by which a blurred pixel of the grey copies may differ
ASPECT = 1.04  # ratio of the aspect ratios
_SPOTS = 64  # a side, of the view that says what is background
_CONTENT = 6  # grey levels from the median that make a spot content
_LEVELS = 16  # grey levels of the copy, which make it a kilobyte or four
_SIZE = struct.Struct("<HH")

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """`copy`: see `packed`; `detail`: the share of a picture's spots, 64 a side, that are not background."""

    pixels: bytes
    hash: bytes
    copy: bytes
    width: int
    height: int
    detail: float


def look(data: bytes) -> Picture:
    """The picture's views; raises UserError where the bytes are no image, which intake would have refused."""
    import imagehash
    from PIL import Image

    from mmprm.data.image_decoder import decode_image

    shown = decode_image(data)
    grey = shown.convert("L")
    spots = np.asarray(grey.resize((_SPOTS, _SPOTS), Image.Resampling.BOX), dtype=np.int16)
    bits = imagehash.phash(grey, hash_size=16).hash
    return Picture(
        pixels=hashlib.sha256(repr(shown.size).encode() + shown.tobytes()).digest()[:16],
        hash=np.packbits(bits.ravel()).tobytes(),
        copy=packed(grey),
        width=shown.width,
        height=shown.height,
        detail=float((np.abs(spots - int(np.median(spots))) > _CONTENT).mean()),
    )


def packed(grey: Any) -> bytes:
    """A grey PIL image, made smaller where a side is longer than SIDE, in 16 levels, compressed."""
    from PIL import Image

    scale = min(SIDE / max(grey.size), 1)
    size = (max(1, round(grey.width * scale)), max(1, round(grey.height * scale)))
    small = grey if size == grey.size else grey.resize(size, Image.Resampling.BOX)
    levels = np.asarray(small, dtype=np.uint8) // (256 // _LEVELS)
    return _SIZE.pack(*size) + zlib.compress(levels.tobytes(), 3)


def _unpacked(copy: bytes) -> Any:
    from PIL import Image

    size = _SIZE.unpack_from(copy)
    levels = np.frombuffer(zlib.decompress(copy[_SIZE.size :]), dtype=np.uint8).reshape(size[::-1])
    return Image.fromarray(levels * np.uint8(255 // (_LEVELS - 1)))


def flips(one: Bytes, other: Bytes) -> NDArray[np.int64]:
    """Bits that differ between hashes, (..., HASH_BYTES) each."""
    return np.bitwise_count(one ^ other).sum(axis=-1, dtype=np.int64)


def near(one: bytes, other: bytes) -> bool:
    """Do two grey copies show the same, up to compression and scaling?

    The larger is scaled to the smaller one's size; their difference is blurred, so that what moves by a part of a pixel
    cancels out. Another digit does not.
    """
    from PIL import Image

    small, large = sorted((_unpacked(one), _unpacked(other)), key=lambda image: image.width * image.height)
    if small.size != large.size:
        large = large.resize(small.size, Image.Resampling.LANCZOS)
    apart = np.pad(np.asarray(small, np.int16) - np.asarray(large, np.int16), 1, mode="edge")
    rows = apart[:-2] + 2 * apart[1:-1] + apart[2:]
    blurred = rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]
    return bool(np.abs(blurred).max() <= 16 * BLURRED)
