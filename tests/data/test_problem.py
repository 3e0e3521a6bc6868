"""Images are decoded as models are shown them."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from mmprm.data.problem import decode_image
from mmprm.runtime.errors import UserError


def _encoded(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def test_transparency_is_laid_on_white() -> None:
    drawing = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    drawing.putpixel((1, 1), (0, 0, 0, 255))
    image = decode_image(_encoded(drawing))
    assert image.mode == "RGB"
    assert image.getpixel((0, 0)) == (255, 255, 255)
    assert image.getpixel((1, 1)) == (0, 0, 0)


def test_sixteen_bit_grey_keeps_its_shades() -> None:
    grey = Image.new("I;16", (2, 1))
    grey.putpixel((0, 0), 32768)
    grey.putpixel((1, 0), 65535)
    image = decode_image(_encoded(grey))
    assert [image.getpixel((x, 0)) for x in (0, 1)] == [(128, 128, 128), (255, 255, 255)]


def test_a_turned_photograph_is_turned_back() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown a quarter turn clockwise
    file = io.BytesIO()
    Image.new("RGB", (8, 2)).save(file, "JPEG", exif=exif)
    assert decode_image(file.getvalue()).size == (2, 8)


@pytest.mark.parametrize("data", [b"", b"not an image", _encoded(Image.new("RGB", (64, 64)))[:60]])
def test_an_image_that_cannot_be_decoded_is_an_error_that_says_so(data: bytes) -> None:
    with pytest.raises(UserError, match="cannot be decoded"):
        decode_image(data)


@pytest.mark.parametrize("kind", ["TIFF", "EPS", "ICO", "PPM", "TGA"])
def test_a_picture_of_a_format_that_sources_may_not_have_is_decoded_by_no_reader(kind: str) -> None:
    """PostScript would start Ghostscript; a TIFF of 169 megapixels takes a gigabyte."""
    out = io.BytesIO()
    Image.new("RGB", (16, 16)).save(out, kind)
    with pytest.raises(UserError, match="cannot be decoded"):
        decode_image(out.getvalue())


def test_a_picture_of_more_pixels_than_any_source_may_have_is_not_unpacked() -> None:
    out = io.BytesIO()
    Image.new("1", (20_000, 9_000)).save(out, "PNG")
    with pytest.raises(UserError, match="cannot be decoded"):
        decode_image(out.getvalue())
