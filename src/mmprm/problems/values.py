"""Values of a row as texts and numbers. In: what a file holds. Out: texts, numbers; RowRefusedError for others."""

import math
from typing import Any

from mmprm.problems.refusals import RowRefusedError

_LONGEST = 2**20  # characters of a text; the longest of published data have some ten thousand
_EXACT = 2**53  # whole numbers from which a float does not tell one from the next
_NO_ANSWER = {"nan", "inf", "-inf", "+inf"}  # what a missing or overflowed number becomes as text


def text_of(value: Any, name: str) -> str:
    """Return a text or number as text; `name` is for the refusal."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RowRefusedError("bad_value", f"{name} is not a text but {type(value).__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise RowRefusedError("bad_value", f"{name} is {value}, which is no number")
    text = str(value)
    if len(text) > _LONGEST:
        raise RowRefusedError("bad_text", f"{name} has {len(text):,} characters, more than {_LONGEST:,}")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON can hold half of a surrogate pair, which no file can
        raise RowRefusedError("bad_text", f"{name} is not valid Unicode: {error}") from error
    return text


def name_of(value: Any, name: str) -> str:
    """Return an id or a group as text; whole numbers that a table holds as floats (7.0) are read as whole numbers.

    pandas makes floats of a column of whole numbers in which some are missing.
    """
    if isinstance(value, float) and value.is_integer():
        if abs(value) >= _EXACT:
            raise RowRefusedError("bad_value", f"{name} {value!r} is a rounded number, so that others may be equal")
        value = int(value)
    return text_of(value, name).strip()


def answer_of(value: Any) -> str:
    """Return the gold answer: a text or number, or a list of these, which are joined by commas."""
    parts = value if isinstance(value, list) else [] if value is None else [value]
    answer = ", ".join(text_of(part, "answer").strip() for part in parts)
    if answer.casefold() in _NO_ANSWER:
        raise RowRefusedError("bad_value", f"the answer is {answer!r}, a missing or overflowed number")
    return answer


def number_of(value: Any, name: str) -> float:
    """Return a finite number."""
    try:
        number = float(text_of(value, name))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise RowRefusedError("bad_value", f"{name} {value!r:.80} is not a number")
    return number


def precision_of(value: Any) -> int | None:
    """Return the number of decimal places; tables of the hub have floats."""
    if value is None or value == "":
        return None
    places = number_of(value, "precision")
    if not places.is_integer() or not 0 <= places <= 30:
        raise RowRefusedError("bad_value", f"precision {value!r} is not a number of decimal places")
    return int(places)


def tolerance_of(value: Any) -> tuple[float, ...]:
    """Return one number or several; a text has commas between them (OlympiadBench's error)."""
    if value is None or value == "":
        return ()
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    numbers = tuple(number_of(part, "tolerance") for part in parts)
    if any(number < 0 for number in numbers):
        raise RowRefusedError("bad_value", f"tolerance {value!r} is negative")
    return numbers
