"""Images on the way in: found inside their folder, looked at before they are decoded, then decoded once.

In: bytes or a path as a table gives it. Out: the encoded bytes, unchanged; or
`RowRefusedError` with a reason and a sentence.
"""

from __future__ import annotations

import functools
import hashlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageFile, ImageOps

from mmprm.data.image_decoder import open_image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
# What is often found in place of an image, by its first bytes: named in the refusal, never opened.
_OTHERS = {
    b"%PDF": "PDF",
    b"%!PS": "PostScript",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"<svg": "SVG",
    b"<?xml": "SVG or XML",
    b"<!DOC": "HTML",
    b"<html": "HTML",
    b"version https://git-lfs": "a Git LFS pointer",
}


class RowRefusedError(Exception):
    """A row (or its image) that is not taken. `reason` is a short code, `detail` a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def read_inside(folder: Path, name: str, max_bytes: int, links: Path | None = None) -> bytes:
    """The bytes of the file `name` in `folder`. RefusedError where it is missing, leaves the folder, or is too big.

    Symbolic links are followed first, so a link cannot lead out of the folder either; but into the folder `links` it
    may (the hub's cache keeps its files beside its snapshots), where the name itself stays inside.
    """
    try:
        root = folder.resolve()
        path = (root / name).resolve()
        inside = path.is_relative_to(root) or (
            links is not None
            and Path(os.path.normpath(root / name)).is_relative_to(root)
            and path.is_relative_to(links.resolve())
        )
        if not inside:
            raise RowRefusedError("path_outside", f"{name!r} leads out of {folder} (links are followed)")
        if not path.is_file():
            raise RowRefusedError("missing_file", f"there is no file {name!r} in {folder}")
        size = path.stat().st_size
        if size > max_bytes:
            raise RowRefusedError("image_too_large", f"{name!r} has {size:,} bytes, more than {max_bytes:,}")
        return path.read_bytes()
    except (OSError, ValueError, RuntimeError) as error:  # no permission, a null byte, a circle of links
        raise RowRefusedError("missing_file", f"{name!r} cannot be read: {error}") from error


def largest_file(max_pixels: int) -> int:
    """Bytes that an image of this many pixels can need at most: 16 bits of each of four channels, and a header."""
    return 8 * max_pixels + 2**20


@contextmanager
def _own_limits() -> Iterator[None]:
    """Pillow's pixel limit and its tolerance of truncated files are global: replaced here, and put back."""
    limit, tolerant = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata, palette transparency: not for the user to read
            yield
    finally:
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = limit, tolerant


def check(data: bytes, max_pixels: int) -> None:
    """Raise RefusedError unless the bytes are a whole image of an allowed format with at most `max_pixels` pixels.

    The size is taken from the header: a small file that unpacks to gigabytes is refused without being unpacked.
    """
    if not data:
        raise RowRefusedError("corrupt_image", "the image has no bytes")
    with _own_limits():
        try:
            with open_image(data, FORMATS) as image:
                width, height = image.size
                if width * height > max_pixels:
                    detail = f"{width:,} x {height:,} pixels are more than max_image_pixels {max_pixels:,}"
                    raise RowRefusedError("image_too_large", detail)
                image.verify()  # the checksums of a PNG, which decoding alone does not read to the end
            with open_image(data, FORMATS) as image:
                image.load()
                ImageOps.exif_transpose(image)
        except RowRefusedError:
            raise
        except Image.UnidentifiedImageError as error:
            start = data[:64].lstrip()
            for magic, name in _OTHERS.items():
                if start.startswith(magic):
                    allowed = ", ".join(FORMATS)
                    raise RowRefusedError("image_format", f"this is {name}; allowed are {allowed}") from error
            raise RowRefusedError(
                "corrupt_image", f"not an image of a known format; it starts with {data[:8]!r}"
            ) from error
        except Exception as error:  # Pillow's decoders raise almost anything on damaged bytes
            cut = "truncat" in str(error).lower() or isinstance(error, EOFError)
            raise RowRefusedError(
                "truncated_image" if cut else "corrupt_image", f"it does not decode: {error}"
            ) from error


@functools.lru_cache(maxsize=64)  # rows of one picture follow one another
def pixels(data: bytes) -> str:
    """A hash of the decoded picture, which does not depend on its format. For bytes that passed `check`."""
    with _own_limits(), open_image(data, FORMATS) as image:
        shown = ImageOps.exif_transpose(image).convert("RGB")
        return hashlib.sha256(repr(shown.size).encode() + shown.tobytes()).hexdigest()
