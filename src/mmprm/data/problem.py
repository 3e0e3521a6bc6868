"""Problems (question, images, gold answer), their tables `problems/{source}.parquet`, and their images decoded."""

from __future__ import annotations

import hashlib
import heapq
import io
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmprm.data import schemas, tables
from mmprm.runtime.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap height and width
_TURNS_A_PNG = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")  # chunks and keywords


@dataclass(frozen=True)
class Problem:
    """One problem. `images` are encoded files (PNG, JPEG, ...) in the order in which the question names them."""

    problem_id: str
    source: str
    question: str
    answer: str
    images: tuple[bytes, ...] = ()
    choices: tuple[str, ...] = ()
    answer_type: str = "auto"  # auto, choice, number, integer, expression or text: how `grading` compares answers
    solution: str | None = None  # as in the source; policy training uses only step-tagged ones (solution.py)
    family: str | None = None  # kind of problem: a mini family, a version, a subject
    precision: int | None = None  # decimal places to which an answer is rounded before it is compared
    unit: str = ""  # of the gold answer, as the source writes it
    tolerance: tuple[float, ...] = ()  # largest differences from the gold numbers: one for each, or one for all
    group: str = ""  # problems of one group share a picture or are versions of one; empty: no group

    @cached_property
    def fingerprint(self) -> str:
        """A hash of what a model is shown and what its answer is graded against (not of the id)."""
        digest = hashlib.sha256()
        for part in (self.question, self.answer, self.answer_type, *self.choices):
            digest.update(part.encode() + b"\x00")
        graded_by = (self.precision, self.unit, self.tolerance)
        if graded_by != (None, "", ()):  # the fingerprints of problems without them must not change
            digest.update(repr(graded_by).encode() + b"\x00")
        for image in self.images:
            digest.update(hashlib.sha256(image).digest())
        return digest.hexdigest()[:32]


def read_problems(*paths: Path, only: Collection[str] | None = None) -> list[Problem]:
    """Read the problems of the tables, or those with the ids `only`, in order; UserError where a schema differs."""
    return [of_row(row) for path in paths for row in tables.read(path, schemas.PROBLEMS, only).to_pylist()]


def problems_by_id(*paths: Path, only: Collection[str] | None = None) -> dict[str, Problem]:
    """Read the same problems as a dictionary by id."""
    return {problem.problem_id: problem for problem in read_problems(*paths, only=only)}


def stream_problems(*paths: Path) -> Iterator[Problem]:
    """Yield the problems of tables that are ordered by id, merged in this order; a few rows are in memory.

    UserError where a table has another schema or an id occurs twice.
    """
    previous = None
    for problem in heapq.merge(*map(stream_table, paths), key=lambda problem: problem.problem_id):
        if problem.problem_id == previous:
            raise tables.duplicate("problem", previous, paths, "name each source once")
        previous = problem.problem_id
        yield problem


def stream_table(path: Path, rows: int = 64, group: int | None = None) -> Iterator[Problem]:
    """Read the problems of a table, or of its row group `group`, in their order, `rows` of them in memory at a time."""
    for batch in tables.batches(path, schemas.PROBLEMS, rows=rows, group=group):
        yield from map(of_row, batch.to_pylist())


class ProblemFile:
    """The problems of some tables by id, read on access: one row group of each table is in memory.

    For readers that go through problems in the order of their ids, the order of the tables. An id that is in several
    tables is read from the last of them, as by `problems_by_id`.
    """

    def __init__(self, *paths: Path) -> None:
        self._groups: dict[str, tuple[Path, int]] = {}
        self._loaded: dict[Path, tuple[int, dict[str, Problem]]] = {}
        self.paths = paths
        for path in paths:
            for group, ids in enumerate(tables.groups(path, schemas.PROBLEMS, ("problem_id",))):
                self._groups.update((problem_id, (path, group)) for problem_id in ids["problem_id"].to_pylist())

    def __contains__(self, problem_id: object) -> bool:
        return problem_id in self._groups

    def __getitem__(self, problem_id: str) -> Problem:
        """Return the problem; KeyError where no table has the id."""
        path, group = self._groups[problem_id]
        if path not in self._loaded or self._loaded[path][0] != group:
            self._loaded[path] = (group, {p.problem_id: p for p in stream_table(path, group=group)})
        return self._loaded[path][1][problem_id]


def of_row(row: Mapping[str, Any]) -> Problem:
    """Return the problem of a row of a problem table."""
    lists = {name: tuple(row[name] or ()) for name in ("images", "choices", "tolerance")}
    return Problem(**{**row, **lists})


def row_of(problem: Problem) -> dict[str, Any]:
    """Return the row of a problem table."""
    return {field: getattr(problem, field) for field in schemas.PROBLEMS.names}


def write_problems(path: Path, problems: Iterable[Problem]) -> None:
    """Write atomically, ordered by problem id, so that the same problems give the same file."""
    tables.write(path, map(row_of, sorted(problems, key=lambda problem: problem.problem_id)), schemas.PROBLEMS)


FORMATS = (
    "PNG",
    "JPEG",
    "WEBP",
    "BMP",
    "GIF",
)  # Pillow's names; its readers of others start programs, or are little used
LARGEST = 178_956_970  # pixels of any image: the most that intake.max_image_pixels may allow


def open_image(data: bytes) -> Image.Image:
    """Read the header of an encoded image of an allowed format; raises whatever Pillow does."""
    from PIL import Image

    return Image.open(io.BytesIO(data), formats=FORMATS)


def _opened(data: bytes) -> Image.Image:
    image = open_image(data)
    if image.width * image.height > LARGEST:
        raise ValueError(f"{image.width:,} x {image.height:,} pixels are more than {LARGEST:,}")
    return image


def image_size(data: bytes) -> tuple[int, int]:
    """Return (height, width) of what `decode_image` makes of the bytes, without decoding where the header tells.

    UserError as of `decode_image`, but damage behind the header is not seen.
    """
    from PIL import ExifTags, Image

    try:
        image = _opened(data)
        width, height = image.size
        # Asked how it is turned, a PNG is decoded, since the answer may stand behind its pixels.
        may_be_turned = image.format != "PNG" or any(name in data for name in _TURNS_A_PNG)
        if may_be_turned and image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS:
            width, height = height, width
        return height, width
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _undecodable(data, error) from error


def _undecodable(data: bytes, error: Exception) -> UserError:
    return UserError(f"an image of {len(data)} bytes cannot be decoded: {error}")


def decode_image(data: bytes) -> Image.Image:
    """Decode an image to RGB, turned as its EXIF orientation says, transparency laid on white.

    White, because drawings with a transparent background have black lines. UserError where it is of no allowed format,
    has more than LARGEST pixels by its header, or cannot be decoded.
    """
    from PIL import Image, ImageOps

    try:
        image = ImageOps.exif_transpose(_opened(data))
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA"))
        elif image.mode.startswith("I;16"):
            image = image.point(lambda value: value / 256).convert("L")  # Pillow would clip 16 bits to 255, not scale
        return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _undecodable(data, error) from error
