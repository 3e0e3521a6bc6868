"""Images are decoded as models are shown them."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from mmprm.data.problem import decode_image, image_size
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


def turned(kind: str, orientation: int | None) -> bytes:
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    file = io.BytesIO()
    Image.new("RGB", (8, 3)).save(file, kind, **({"exif": exif} if orientation else {}))
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
def test_the_size_of_an_image_is_that_of_what_is_decoded(kind: str, orientation: int | None) -> None:
    data = turned(kind, orientation)
    width, height = decode_image(data).size
    assert image_size(data) == (height, width) == ((8, 3) if orientation in (5, 6, 7, 8) else (3, 8))


def test_the_size_of_a_png_that_is_turned_behind_its_pixels() -> None:
    """In an XMP text, where Pillow looks too, and in a chunk that follows the pixels."""
    from PIL.PngImagePlugin import PngInfo

    information = PngInfo()
    information.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    xmp = _encoded(Image.new("RGB", (8, 3)), pnginfo=information)
    with_exif, end = turned("PNG", 6), b"\x00\x00\x00\x00IEND"
    start = with_exif.index(b"eXIf") - 4
    length = 12 + int.from_bytes(with_exif[start : start + 4], "big")
    chunk, rest = with_exif[start : start + length], with_exif[:start] + with_exif[start + length :]
    late = rest.replace(end, chunk + end)
    assert late.index(b"IDAT") < late.index(b"eXIf")
    for data in (xmp, late):
        assert image_size(data) == (8, 3) and decode_image(data).size == (3, 8)


def test_a_size_is_read_without_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageFile

    data = [turned(kind, None) for kind in ("JPEG", "PNG", "WEBP", "BMP", "GIF")] + [turned("JPEG", 6)]
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    assert [image_size(each) for each in data] == [(3, 8)] * 5 + [(8, 3)]


@pytest.mark.parametrize("data", [b"", b"not an image"])
def test_a_size_that_cannot_be_read_is_an_error_that_says_so(data: bytes) -> None:
    with pytest.raises(UserError, match="cannot be decoded"):
        image_size(data)
