"""A row of labelled steps as its reader found it, and how readers look at values. Out: values, or RowRefusedError."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmprm.labels.evidence import Label
from mmprm.problems.refusals import RowRefusedError

KINDS = ("positive", "negative", "outcome", "given")  # of paths, as in schemas.PATHS
_LARGEST = 2**31 - 1  # of what tables can hold


@dataclass(frozen=True)
class RawStepRow:
    """A solution with a label for each step, not yet checked. `subset`: a part of a benchmark, measured separately.

    final: the solution's own answer, whose label is the last one. soft: of each marker; None: as the counts or the hard
    labels say. further: more fields of problems.fields.RowFields.
    """

    question: Any
    steps: Any
    labels: list[Label]
    image: Any = None
    has_image: bool = False
    answer: Any = None  # the gold answer, if the data set has one
    subset: Any = None
    kind: str = "given"
    final: Any = None
    soft: list[float | None] | None = None
    further: Mapping[str, Any] = field(default_factory=dict)


def list_of(row: dict[str, Any], name: str) -> list[Any]:
    """Return a list with entries."""
    value = row.get(name)
    if not isinstance(value, list) or not value:
        raise RowRefusedError("missing_value", f"{name} is not a list with entries")
    return value


def integer_of(value: Any, name: str, allowed: Sequence[int] | None = None) -> int:
    """Return an integer, which hub tables may hold as a float."""
    integral = isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()
    if not integral or abs(value) > _LARGEST or (allowed is not None and int(value) not in allowed):
        raise RowRefusedError("bad_value", f"{name} is {value!r}")
    return int(value)
