"""Images that a row gives as text. In: a path, a `file://` or `data:` URI, or base64. Out: the encoded bytes.

Nothing is fetched: a web address is refused. Paths lead into the images folder, and nowhere else.
"""

import base64
import binascii
import re
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

from mmprm.problems.image_checks import largest_file, read_inside
from mmprm.problems.refusals import RowRefusedError

_FILE = "file://"
# How files of the allowed formats begin in base64: PNG, JPEG, GIF, WEBP (RIFF), BMP.
_STARTS = ("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR", "Qk")
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]{64,}={0,2}\s*")


def image_bytes(text: str, folder: Path, max_pixels: int, links: Path | None = None) -> bytes:
    """Return the bytes of the image; RowRefusedError as of `read_inside`, and where the text cannot be decoded."""
    if text[:5].casefold() == "data:":
        return _of_data_uri(text, max_pixels)
    if text.startswith(_STARTS) and _BASE64.fullmatch(text):
        return _decoded(text, max_pixels)
    if text[:8].casefold().startswith(("http://", "https://")):
        raise RowRefusedError("missing_file", f"{text!r:.200} is a web address; images are not fetched: fetch it first")
    if text[:7].casefold() == _FILE:
        text = _local(unquote(text[len(_FILE) :]), folder)
    return read_inside(folder, text, max_pixels, links)


def _local(path: str, folder: Path) -> str:
    """Return the path of a file URI; a relative one may be meant from the working folder, as qwen-vl-utils has it."""
    inside = (folder / path).is_file() or not Path(path).is_file()
    return path if inside else str(Path(path).resolve())


def _of_data_uri(text: str, max_pixels: int) -> bytes:
    head, comma, body = text.partition(",")
    if not comma:
        raise RowRefusedError("corrupt_image", f"{text!r:.80} is a data URI without a comma")
    if head.casefold().endswith(";base64"):
        return _decoded(unquote(body), max_pixels)
    if len(body) > 3 * largest_file(max_pixels):
        raise RowRefusedError("image_too_large", f"the data URI has {len(body):,} characters")
    return unquote_to_bytes(body)


def _decoded(text: str, max_pixels: int) -> bytes:
    if len(text) > 2 * largest_file(max_pixels):
        raise RowRefusedError("image_too_large", f"the base64 has {len(text):,} characters")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RowRefusedError("corrupt_image", f"{text!r:.40} is no base64: {error}") from error
