"""Rows, and the refusal of a row. In: what a reader of files found. Out: rows that know where they stand."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_DETAIL = 1000  # characters of a refusal's detail, which may quote the row


class RowRefusedError(Exception):
    """A row (or its image) that is not taken. `reason` is a short code, `detail` a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        detail = detail if len(detail) <= _DETAIL else f"{detail[: _DETAIL - 1]}…"
        detail = detail.encode(errors="replace").decode()  # what is quoted may be no Unicode
        super().__init__(detail)
        self.reason, self.detail = reason, detail

    def __reduce__(self) -> Any:
        return type(self), (self.reason, self.detail)


class Row(dict[str, Any]):
    """A row's columns. `place`: where it stands, such as `own.jsonl, line 4`."""

    place = ""


class Unreadable(str):
    """A row that cannot be read: why. Other than a row that is a text, which is no object."""

    place = ""
    reason = "bad_row"


def unreadable(why: str, place: str = "", reason: str = "bad_row") -> Unreadable:
    """Make an Unreadable with its place and the short code of the refusal."""
    row = Unreadable(why)
    row.place, row.reason = place, reason
    return row


def with_place(row: Any, detail: str) -> str:
    """Put before a refusal's detail where the row stands, where that is known."""
    return f"{row.place}: {detail}" if isinstance(row, Row | Unreadable) and row.place else detail


def object_of(row: Any) -> dict[str, Any]:
    """Return the row if it is an object."""
    if isinstance(row, dict):
        return row
    if isinstance(row, Unreadable):
        raise RowRefusedError(row.reason, str(row))
    raise RowRefusedError("bad_row", f"a row is an object, this is {type(row).__name__}")


@contextmanager
def one_row() -> Iterator[None]:
    """Turn whatever the checks of one row raise into its refusal: a hostile row must not end its source."""
    try:
        yield
    except (RowRefusedError, MemoryError):
        raise
    except Exception as error:  # whatever a foreign row provokes is its refusal, and no end of the source
        raise RowRefusedError("bad_row", f"it cannot be read: {type(error).__name__}: {error}") from error
