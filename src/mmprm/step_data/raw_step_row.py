"""What a reader of step data finds in a row. In: a row of a published form. Out: `RawStepRow`; checked in `intake`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmprm.labels.evidence import Label
from mmprm.problems.images import RowRefusedError

UNKNOWN = Label(None, None, None, "none")


@dataclass(frozen=True)
class RawStepRow:
    """A solution with a label for each step. `subset` is a part of a benchmark that is measured for itself."""

    question: Any
    steps: Any
    labels: list[Label]
    image: Any = None
    has_image: bool = False
    answer: Any = None  # the gold answer, where there is one
    subset: Any = None


def given(right: bool) -> Label:
    """A verdict that came without counts."""
    return Label(None, None, int(right), "given")


def list_of(row: dict[str, Any], name: str) -> list[Any]:
    """The list in a column. RefusedError where there is none, or an empty one."""
    value = row.get(name)
    if not isinstance(value, list) or not value:
        raise RowRefusedError("missing_value", f"{name} is not a list with entries")
    return value


def whole_number(value: Any, name: str, allowed: Sequence[int] | None = None) -> int:
    """An integer; hub tables may hold it as a float. RefusedError where it is none, or none of `allowed`."""
    whole = isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()
    if not whole or (allowed is not None and int(value) not in allowed):
        raise RowRefusedError("bad_value", f"{name} is {value!r}")
    return int(value)
