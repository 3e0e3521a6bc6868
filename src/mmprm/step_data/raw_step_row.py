"""What a reader of step data takes from a row. In: a row of a published form. Out: a `RawStepRow`, not yet checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmprm.labels.evidence import Label
from mmprm.problems.rows import RowRefusedError

NO_LABEL = Label(None, None, None, "none")


@dataclass(frozen=True)
class RawStepRow:
    """A solution with a label for each step. `subset`: a part of a benchmark that is measured separately."""

    question: Any
    steps: Any
    labels: list[Label]
    image: Any = None
    has_image: bool = False
    answer: Any = None  # the gold answer, if the data set has one
    subset: Any = None


def external_label(right: bool) -> Label:
    """Return the label of a step that was judged right or wrong without rollout counts."""
    return Label(None, None, int(right), "given")


def read_list(row: dict[str, Any], name: str) -> list[Any]:
    """Return the list in a column. Raises RowRefusedError if there is none, or an empty one."""
    value = row.get(name)
    if not isinstance(value, list) or not value:
        raise RowRefusedError("missing_value", f"{name} is not a list with entries")
    return value


def read_integer(value: Any, name: str, allowed: Sequence[int] | None = None) -> int:
    """Return an integer, which hub tables may hold as a float. Raises RowRefusedError for any other value."""
    integral = isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()
    if not integral or (allowed is not None and int(value) not in allowed):
        raise RowRefusedError("bad_value", f"{name} is {value!r}")
    return int(value)
