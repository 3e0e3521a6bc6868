"""Check the images of a source. In: bytes, or a path within a folder. Out: the encoded bytes, unchanged.

Raises RowRefusedError with a reason and a sentence. The size is checked before an image is decoded.
"""

import functools
import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from mmprm.data.problem import FORMATS, Problem, decode_image, open_image
from mmprm.problems.refusals import RowRefusedError
from mmprm.runtime.errors import UserError

# Other kinds of files that are often given as images, by their first bytes: named in the refusal, never opened.
_OTHERS = {
    b"%PDF": "PDF",
    b"%!PS": "PostScript",
    **dict.fromkeys((b"II*\x00", b"MM\x00*"), "TIFF"),
    b"<svg": "SVG",
    b"<?xml": "SVG or XML",
    **dict.fromkeys((b"<!DOC", b"<html"), "HTML"),
    b"version https://git-lfs": "a Git LFS pointer",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    **dict.fromkeys((b"\xff\x0a", b"\x00\x00\x00\x0cJXL "), "JPEG XL"),
    b"\x00\x00\x01\x00": "an icon (ICO)",
}
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", **dict.fromkeys((b"heic", b"heix", b"hevc", b"mif1", b"msf1"), "HEIC")}
_SHOWN = 200  # characters of a path in a refusal
ASPECT = 200  # the longer side over the shorter one, above which Qwen-VL's processor refuses an image


def largest_file(max_pixels: int) -> int:
    """Return the most bytes that a file of so many pixels needs: four channels of 16 bits, and a header."""
    return 8 * max_pixels + 2**20


def read_inside(folder: Path, name: str, max_pixels: int, links: Path | None = None) -> bytes:
    """Read the image file `name` in `folder`; RowRefusedError where it is missing, outside the folder, or too large.

    Symbolic links are resolved first, so that a link cannot lead out of the folder either, except into the folder
    `links` (the hub's cache keeps files beside its snapshots) if the name itself stays inside.
    """
    max_bytes, shown = largest_file(max_pixels), repr(name if len(name) <= _SHOWN else f"{name[: _SHOWN - 1]}…")
    try:
        root = folder.resolve()
        path = (root / name).resolve()
        inside = path.is_relative_to(root) or (
            links is not None
            and Path(os.path.normpath(root / name)).is_relative_to(root)
            and path.is_relative_to(links.resolve())
        )
        if not inside:
            raise RowRefusedError("path_outside", f"{shown} leads out of {folder} (links are followed)")
        if not path.is_file():
            raise RowRefusedError("missing_file", f"there is no file {shown} in {folder}")
        size = path.stat().st_size
        if size > max_bytes:
            raise RowRefusedError("image_too_large", f"{shown} has {size:,} bytes, more than {max_bytes:,}")
        return path.read_bytes()
    except (OSError, ValueError, RuntimeError) as error:  # no permission, a null byte, a cycle of links
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise RowRefusedError("missing_file", f"{shown} cannot be read: {why}") from error


@contextmanager
def _strict_pillow() -> Iterator[None]:
    """Replace and restore two global settings of Pillow: its pixel limit and its tolerance of truncated files."""
    limit, tolerant = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata, palette transparency: of no interest to the user
            yield
    finally:
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = limit, tolerant


def check(data: bytes, max_pixels: int) -> None:
    """Raise RowRefusedError unless the bytes are a complete image of an allowed format with at most `max_pixels`.

    The size is read from the header, so that a small file that would decode to gigabytes is refused undecoded.
    """
    if not data:
        raise RowRefusedError("corrupt_image", "the image has no bytes")
    with _strict_pillow():
        try:
            with open_image(data) as image:
                width, height = image.size
                if width * height > max_pixels:
                    detail = f"{width:,} x {height:,} pixels are more than max_image_pixels {max_pixels:,}"
                    raise RowRefusedError("image_too_large", detail)
                if max(width, height) > ASPECT * min(width, height):
                    detail = f"{width:,} x {height:,} pixels: one side is more than {ASPECT} times the other"
                    raise RowRefusedError("image_aspect", detail)
                if image.format == "PNG":
                    image.verify()  # checksums, which decoding does not check; then the image must be opened again
                else:
                    _decode(image)
            if image.format == "PNG":
                with open_image(data) as image:
                    _decode(image)
        except RowRefusedError:
            raise
        except UnidentifiedImageError as error:
            if name := _other_format(data):
                allowed = ", ".join(FORMATS)
                raise RowRefusedError("image_format", f"this is {name}; allowed are {allowed}") from error
            detail = f"not an image of a known format; it starts with {data[:8]!r}"
            raise RowRefusedError("corrupt_image", detail) from error
        except Exception as error:  # Pillow's decoders raise almost anything on damaged bytes
            cut = "truncat" in str(error).lower() or isinstance(error, EOFError)
            reason = "truncated_image" if cut else "corrupt_image"
            raise RowRefusedError(reason, f"it does not decode: {error}") from error


def _decode(image: Image.Image) -> None:
    """Decode an open image as its readers will."""
    image.load()
    ImageOps.exif_transpose(image, in_place=True)


def _other_format(data: bytes) -> str | None:
    if data[4:8] == b"ftyp" and (name := _BRANDS.get(data[8:12])):
        return name
    start = data[:64]
    return next(
        (name for magic, name in _OTHERS.items() if start.startswith(magic) or start.lstrip().startswith(magic)), None
    )


@functools.lru_cache(maxsize=64)  # consecutive rows often share a picture
def pixel_hash(data: bytes) -> str:
    """Hash the picture as a model sees it, independent of its format; for bytes that passed `check`."""
    with _strict_pillow():
        image = decode_image(data)
    return hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()


def check_table(problems: Iterable[Problem], path: Path, max_pixels: int) -> None:
    """Check the images of a problem table from elsewhere, as those of sources are; UserError names the problem."""
    seen: set[bytes] = set()
    for problem in problems:
        for image in problem.images:
            if (digest := hashlib.sha256(image).digest()) in seen:
                continue
            seen.add(digest)
            try:
                check(image, max_pixels)
            except RowRefusedError as error:
                raise UserError(f"{path}: an image of problem {problem.problem_id!r}: {error}") from error
