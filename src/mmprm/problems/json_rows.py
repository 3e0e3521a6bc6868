"""Rows of JSON and JSON Lines files. In: a file. Out: Rows that know their lines, or Unreadable.

A key that stands twice in an object, with two values, leaves open which is meant (RFC 8259, section 4): the row is
refused. `json` itself would take the last one.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from mmprm.problems.refusals import Row, unreadable

LINE = 2**26  # bytes of a line; longer ones are refused
MARK = b"\xef\xbb\xbf"  # the byte order mark, which may start a text file
_FLAT = 16  # keys of a row that is first taken to have no objects in it
_BEGINNING = re.compile(rb'\{\s*+"[^"\\]{1,200}+"\s*+:')  # of an object
_DIFFERS = "the key {!r} stands twice in it, with two values"


class AmbiguousError(ValueError):
    """JSON that can be read in two ways."""


class UniqueKeys:
    """`object_pairs_hook` that notes keys which stand twice with different values, in `repeated`."""

    def __init__(self) -> None:
        self.repeated: list[str] = []

    def __call__(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            self.repeated += [name for name, value in pairs if found[name] != value]
        return found


def loads(text: bytes) -> Any:
    """Parse one JSON value; ValueError or RecursionError where it is none, or has a key twice with two values."""
    colons = text.count(b":")
    if colons <= _FLAT:  # with as many keys as colons no key stands twice, which is fast to see
        value = json.loads(text)
        if isinstance(value, dict) and len(value) == colons:
            return value
    keys = UniqueKeys()
    value = json.loads(text, object_pairs_hook=keys)
    if keys.repeated:
        raise AmbiguousError(_DIFFERS.format(keys.repeated[0][:80]))
    return value


def lines(file: BinaryIO, name: str) -> Iterator[Any]:
    """Yield a value for each line that is not blank: a Row, an Unreadable, or what else the line has."""
    mark, number = MARK, 0
    while line := file.readline(LINE):
        number += 1
        place = f"{name}, line {number}"
        if len(line) == LINE and not line.endswith(b"\n"):
            while (rest := file.readline(LINE)) and not rest.endswith(b"\n"):
                pass
            yield from parsed(None, "line", place)
            continue
        text, mark = line.removeprefix(mark), b""
        if text.strip():
            yield from parsed(text, "line", place)


def parsed(text: bytes | None, what: str, place: str) -> list[Any]:
    """Make a row of the text of a line or an element; None: it was too long to be kept.

    A stray quote or a lost line end joins rows to one text that is not JSON: it counts as many refused rows as there
    are objects in it that begin with the same key.
    """
    if text is None:
        return [unreadable(f"the {what} has more than {LINE:,} bytes", place)]
    try:
        return [placed(loads(text), place)]
    except AmbiguousError as error:
        return [unreadable(str(error), place)]
    except (ValueError, RecursionError) as error:
        first = _BEGINNING.search(text)
        n = sum(beginning[0] == first[0] for beginning in _BEGINNING.finditer(text)) if first else 1
        several = f"; {n} rows seem to stand in it" if n > 1 else ""
        return [unreadable(f"the {what} is not JSON: {error}{several}", place)] * n


def placed(value: Any, place: str) -> Any:
    """Make an object a Row without NaN, which pandas writes for missing values; other values are refused rows."""
    if not isinstance(value, dict):
        return unreadable(f"a row is an object, this is {type(value).__name__}", place)
    return row_of(value, place)


def row_of(value: dict[str, Any], place: str) -> Row:
    """Make a Row, with NaN as None."""
    row = Row(value)
    row.place = place
    for name, item in value.items():
        if item.__class__ is float and item != item:  # noqa: PLR0124 (NaN)
            row[name] = None
    return row


def without_nan(row: Any) -> Any:
    """Replace NaN by None; a row that is no dictionary is left unchanged."""
    if not isinstance(row, dict):
        return row
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}


def objects_within(whole: Any) -> list[tuple[str, Any]] | None:
    """Return (place, row) of a JSON object that is a table.

    `{"data": [row, …], …}`, with one list of objects; or `{id: row, …}`, where the key is the row's `id` unless the row
    has one (DynaMath, MathVista). None where the object is neither. AmbiguousError where two lists may be meant.
    """
    if not isinstance(whole, dict) or not whole:
        return None
    lists = [key for key, value in whole.items() if isinstance(value, list) and value and _objects(value)]
    if len(lists) > 1:
        raise AmbiguousError(
            f"there are rows in {' and in '.join(map(repr, lists))}; keep one of them, as a JSON array"
        )
    if lists and not _objects(whole.values()):
        return [(f"{lists[0]}[{index}]", row) for index, row in enumerate(whole[lists[0]])]
    if whole.get("data") == []:
        return []
    if _objects(whole.values()):
        return [(f"key {key!r}", {"id": key} | row) for key, row in whole.items()]
    return None


def _objects(values: Any) -> bool:
    return all(isinstance(value, dict) for value in values)
