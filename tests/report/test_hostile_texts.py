"""Whatever a text holds, charts and pages are made, and what is published tells nothing of people and machines."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image
from PIL.ExifTags import Base

from mmprm.report import figures
from mmprm.report.ablations import no_formula
from mmprm.report.sections.examples import data_uri, thumbnail, without_folders
from mmprm.report.templates import printable

HOSTILE = "a\x00b\x1b[31m\ud83d\uffff\x07c\x85"


def test_a_chart_of_a_hostile_text_is_drawn() -> None:
    rows = [{"x": n, "series": HOSTILE, "value": n / 4, "low": 0.0, "high": 1.0} for n in (1, 2)]
    svg = figures.curves(rows, "N", f"share {HOSTILE}", HOSTILE)
    svg.encode()
    assert svg.startswith("<svg") and "\x00" not in svg and "\x1b" not in svg


def test_a_text_keeps_its_lines_and_loses_what_no_file_can_hold() -> None:
    assert printable("é\n\t√2 \U0001f600") == "é\n\t√2 \U0001f600"
    assert printable("a\x1bb\ud83d") == "a\ufffdb\ufffd"


def photograph(kind: str) -> bytes:
    """A picture that tells where it was taken, as telephones write them."""
    exif = Image.Exif()
    exif[Base.Artist.value] = "A. Person"
    exif[Base.ImageDescription.value] = "secret place"
    out = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(out, kind, exif=exif, icc_profile=b"secret profile", comment=b"secret word")
    return out.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_published_picture_tells_nothing_but_its_pixels(kind: str) -> None:
    given = photograph(kind)
    assert b"secret" in given
    shown = base64.b64decode((data_uri(given) or "").partition(",")[2])
    for published in (shown, thumbnail(given) or b""):
        assert Image.open(io.BytesIO(published)).size == (64, 48)
        assert b"secret" not in published and b"Person" not in published


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("there is no file '/data/pool/a.png'", "there is no file '…/a.png'"),
        ("open file:///srv/data/a.png now", "open …/a.png now"),
        ("in /home/alice/data/a.png", "in …/a.png"),
        ("in /home/alice", "in …/"),
        ("in ~/data/a.png and ~bob/x", "in …/a.png and …/x"),
        ("file:///Users/alice/a.png", "…/a.png"),
        ("1/2 and https://host/a/b are kept", "1/2 and https://host/a/b are kept"),
    ],
)
def test_folders_of_this_machine_are_cut(text: str, shown: str) -> None:
    assert without_folders(text) == shown


@pytest.mark.parametrize("cell", ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_no_cell_of_a_table_is_a_formula(cell: str) -> None:
    assert no_formula(cell) == f"'{cell}"
    assert (no_formula("soft"), no_formula(-0.5), no_formula(None)) == ("soft", -0.5, None)
