"""A problem (question, images, gold answer) and its table. In and out: `problems/{source}.parquet`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmprm import tables


@dataclass(frozen=True)
class Problem:
    """One problem. `images` are encoded files (PNG, JPEG, ...) in the order in which the question names them."""

    problem_id: str
    source: str
    question: str
    answer: str
    images: tuple[bytes, ...] = ()
    choices: tuple[str, ...] = ()
    answer_type: str = "auto"  # auto, choice, number, expression or text: how `grading` compares answers
    solution: str | None = None  # as its source has it; policy training takes step-tagged ones alone (solution.py)
    family: str | None = None  # of which kind it is: a mini family, a version, a subject
    precision: int | None = None  # decimal places to which an answer is rounded before it is compared
    unit: str = ""  # of the gold answer, as the source writes it
    tolerance: tuple[float, ...] = ()  # largest differences from the gold numbers: one for each, or one for all
    group: str = ""  # problems of one group share a picture or are versions of one; empty: it stands alone

    @cached_property
    def fingerprint(self) -> str:
        """A hash of what a model is shown and what its answer is graded against (not of the id)."""
        digest = hashlib.sha256()
        for part in (self.question, self.answer, self.answer_type, *self.choices):
            digest.update(part.encode() + b"\x00")
        graded_by = (self.precision, self.unit, self.tolerance)
        if graded_by != (None, "", ()):  # a problem without them keeps the fingerprint that it always had
            digest.update(repr(graded_by).encode() + b"\x00")
        for image in self.images:
            digest.update(hashlib.sha256(image).digest())
        return digest.hexdigest()[:32]


def read_problems(*paths: Path) -> list[Problem]:
    """All problems of the tables, in the order of the files; raises UserError where a table has another schema."""
    problems: list[Problem] = []
    for path in paths:
        problems += map(of_row, tables.read(path, tables.PROBLEMS).to_pylist())
    return problems


def of_row(row: Mapping[str, Any]) -> Problem:
    """The problem of a row of a problem table."""
    several = {name: tuple(row[name] or ()) for name in ("images", "choices", "tolerance")}
    return Problem(**{**row, **several})


def row_of(problem: Problem) -> dict[str, Any]:
    """The row of a problem table."""
    return {field: getattr(problem, field) for field in tables.PROBLEMS.names}


def write_problems(path: Path, problems: Iterable[Problem]) -> None:
    """Write atomically, ordered by problem id, so that the same problems give the same file."""
    ordered = sorted(problems, key=lambda problem: problem.problem_id)
    tables.write(path, map(row_of, ordered), tables.PROBLEMS)
