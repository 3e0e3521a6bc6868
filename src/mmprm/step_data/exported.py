"""Reads back what `mmprm export` writes of a run's labels. In: a row of labels.parquet. Out: a `RawStepRow`.

All that is known at a marker comes back: counts, hard and soft labels, and where each came from; the answer's too.
"""

from __future__ import annotations

from typing import Any

from mmprm.labels.evidence import Label
from mmprm.problems.refusals import RowRefusedError
from mmprm.problems.values import number_of
from mmprm.step_data.raw import KINDS, RawStepRow, integer_of, list_of

_OF_MARKERS = ("n_correct", "n_rollouts", "hard", "label_source", "soft")
COLUMNS = ("question", "answer", "images", "kind", "steps", "final_answer", *_OF_MARKERS)
FURTHER = ("choices", "answer_type", "family", "precision", "unit", "tolerance", "group")
_SOURCES = ("probed", "pooled", "implied", "answer", "given", "none")


def read_exported(row: dict[str, Any]) -> RawStepRow:
    """Read a row of the labels that a run exported."""
    kind, steps = row.get("kind"), list_of(row, "steps")
    if kind not in KINDS:
        raise RowRefusedError("bad_value", f"kind {kind!r:.80} is not one of {KINDS}")
    final = row.get("final_answer")
    n_markers = len(steps) + (final is not None)
    columns = [list_of(row, name) for name in _OF_MARKERS]
    for name, values in zip(_OF_MARKERS, columns, strict=True):
        if len(values) != n_markers:
            raise RowRefusedError("bad_value", f"{name} has {len(values)} entries, there are {n_markers} markers")
    labels = [_label(*values) for values in zip(*columns[:4], strict=True)]
    further = {name: row[name] for name in FURTHER if row.get(name) not in (None, [])}
    return RawStepRow(
        row.get("question"),
        steps,
        labels,
        row.get("images") or None,
        answer=row.get("answer"),
        subset=further.pop("family", None),
        kind=str(kind),
        final=final,
        soft=[None if value is None else _share(value) for value in columns[4]],
        further=further,
    )


def _label(n_correct: Any, n_rollouts: Any, hard: Any, source: Any) -> Label:
    if source not in _SOURCES:
        raise RowRefusedError("bad_value", f"label_source {source!r:.80} is not one of {_SOURCES}")
    counts = [None if value is None else integer_of(value, "a count") for value in (n_correct, n_rollouts)]
    correct, total = counts
    if (correct is None) != (total is None) or not 0 <= (correct or 0) <= (total or 0):
        raise RowRefusedError("bad_value", f"a step has {n_correct} right ones of {n_rollouts} rollouts")
    return Label(correct, total, None if hard is None else integer_of(hard, "hard", (0, 1)), source)


def _share(value: Any) -> float:
    number = number_of(value, "soft")
    if not 0 <= number <= 1:
        raise RowRefusedError("bad_value", f"soft {value!r} is no share")
    return number
