"""Check the fields of a row and make them a problem; used for every source. In: `RowFields`. Out: a Problem.

An image is given as encoded bytes, a struct of bytes and path, a path below the image folder, or a list of these. Each
function raises RowRefusedError where a value cannot be taken.
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmprm.data.problem import Problem
from mmprm.model.step_text import has_control
from mmprm.problems import image_checks
from mmprm.problems.rows import RowRefusedError, Unreadable

ANSWER_TYPES = ("auto", "choice", "number", "integer", "expression", "text")  # integer: see benchmark_rules.INTEGER
_BEFORE, _BEHIND = re.compile(r"\s*(?:<image>\s*)*"), re.compile(r"\s*(?:>egami<\s*)*")  # the latter read backwards
_LONGEST = 2**20  # characters of a text; the longest of published data have some ten thousand


@dataclass(frozen=True)
class RowFields:
    """What an adapter reads from a row: the fields of a Problem with the unchecked values of the file."""

    id: Any
    question: Any
    answer: Any
    image: Any = None
    has_image: bool = True  # False: problems of text alone
    has_answer: bool = True  # False: the gold answer may be missing, since nothing is graded
    choices: Any = None
    answer_type: Any = None
    solution: Any = None
    family: Any = None
    precision: Any = None
    unit: Any = None
    tolerance: Any = None
    group: Any = None


@dataclass(frozen=True)
class SourceContext:
    """The name of the source, and the folders of images that rows name by paths (see rows.SourceFiles)."""

    source: str
    images: Path
    max_pixels: int
    links: Path | None = None


def object_of(row: Any) -> dict[str, Any]:
    """Return the row if it is an object."""
    if isinstance(row, dict):
        return row
    detail = str(row) if isinstance(row, Unreadable) else f"a row is an object, this is {type(row).__name__}"
    raise RowRefusedError("bad_row", detail)


def problem_of(fields: RowFields, context: SourceContext) -> Problem:
    """Make the problem of a row."""
    needed = {"id": True, "question": True, "answer": fields.has_answer, "image": fields.has_image}
    for field in filter(needed.get, needed):
        if getattr(fields, field) in (None, []):
            raise RowRefusedError("missing_value", f"there is no value for {field}")
    _, question, _ = split_outer(text_of(fields.question, "question"))
    choices = _choices(fields.choices)
    answers = fields.answer if isinstance(fields.answer, list) else [] if fields.answer is None else [fields.answer]
    answer = ", ".join(text_of(part, "answer").strip() for part in answers)  # several: OlympiadBench's final_answer
    name = text_of(fields.id, "id").strip()
    for field, text in {"id": name, "question": question, "answer": answer}.items():
        if not text and (field != "answer" or fields.has_answer):
            raise RowRefusedError(f"empty_{field}", f"{field} is blank")
    unit = "" if fields.unit is None else text_of(fields.unit, "unit").strip()
    for text in (question, answer, unit, *choices):
        if has_control(text):
            shown = text if len(text) <= 80 else f"{text[:79]}…"
            raise RowRefusedError("control_string", f"a tag or model token stands in {shown!r}")
    answer_type = fields.answer_type or "auto"
    if answer_type not in ANSWER_TYPES:
        raise RowRefusedError("bad_value", f"answer_type {answer_type!r} is not one of {ANSWER_TYPES}")
    return Problem(
        problem_id=f"{context.source}/{name}",
        source=context.source,
        question=question,
        answer=answer,
        images=images_of(fields.image, context),
        choices=choices,
        answer_type=answer_type,
        solution=None if fields.solution is None else text_of(fields.solution, "solution").strip() or None,
        family=None if fields.family is None else text_of(fields.family, "family").strip() or None,
        precision=_precision(fields.precision),
        unit=unit,
        tolerance=_tolerance(fields.tolerance),
        group="" if fields.group in (None, "") else f"{context.source}/{text_of(fields.group, 'group').strip()}",
    )


def split_outer(question: str) -> tuple[str, str, str]:
    """Split off the placeholders at the start and the end, each with the blanks beside it, in linear time.

    They only announce the image, for which the prompt has its own.
    """
    start = len(_BEFORE.match(question)[0])  # type: ignore[index]
    end = len(question) - len(_BEHIND.match(question[start:][::-1])[0])  # type: ignore[index]
    return question[:start], question[start:end], question[end:]


def text_of(value: Any, name: str) -> str:
    """Return a text or number as text; `name` is for the refusal."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RowRefusedError("bad_value", f"{name} is not a text but {type(value).__name__}")
    text = str(value)
    if len(text) > _LONGEST:
        raise RowRefusedError("bad_text", f"{name} has {len(text):,} characters, more than {_LONGEST:,}")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON can hold half of a surrogate pair, which no file can
        raise RowRefusedError("bad_text", f"{name} is not valid Unicode: {error}") from error
    return text


def images_of(value: Any, context: SourceContext) -> tuple[bytes, ...]:
    """Return the encoded images, each checked; none where the value is None."""
    if value is None:
        return ()
    checked = []
    for item in value if isinstance(value, list) else [value]:
        content = item
        if isinstance(item, dict):
            content = item.get("bytes") if item.get("bytes") is not None else item.get("path")
        if content is None or content == "":
            raise RowRefusedError("missing_value", "an image has neither bytes nor a path")
        if isinstance(content, str):
            content = image_checks.read_inside(context.images, content, context.max_pixels, context.links)
        if not isinstance(content, bytes):
            raise RowRefusedError("bad_value", f"an image is bytes or a path, this is {type(content).__name__}")
        image_checks.check(content, context.max_pixels)
        checked.append(content)
    return tuple(checked)


def _choices(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):  # a list stored as text
        try:
            value = json.loads(value)
        except ValueError as error:
            raise RowRefusedError("bad_value", "choices are a text, not a list") from error
    if not isinstance(value, list) or len(value) > 26:
        raise RowRefusedError("bad_value", "choices are not a list of at most 26, the letters there are")
    choices = tuple(text_of(choice, "a choice").strip() for choice in value)
    if not all(choices):
        raise RowRefusedError("bad_value", "a choice is blank")
    return choices


def _precision(value: Any) -> int | None:
    """Return the number of decimal places; tables of the hub have floats."""
    if value is None or value == "":
        return None
    places = _number(value, "precision")
    if not places.is_integer() or not 0 <= places <= 30:
        raise RowRefusedError("bad_value", f"precision {value!r} is not a number of decimal places")
    return int(places)


def _tolerance(value: Any) -> tuple[float, ...]:
    """Return one number or several; a text has commas between them (OlympiadBench's error)."""
    if value is None or value == "":
        return ()
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    numbers = tuple(_number(part, "tolerance") for part in parts)
    if any(number < 0 for number in numbers):
        raise RowRefusedError("bad_value", f"tolerance {value!r} is negative")
    return numbers


def _number(value: Any, name: str) -> float:
    try:
        number = float(text_of(value, name))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise RowRefusedError("bad_value", f"{name} {value!r} is not a number")
    return number
