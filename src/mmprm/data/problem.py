"""A problem (question, images, gold answer) and its table. In and out: `problems/{source}.parquet`."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmprm.data import schemas, tables
from mmprm.runtime.errors import UserError

_BATCH = 64  # rows that are read at once when problems are streamed


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


def read_problems(*paths: Path, only: Collection[str] | None = None) -> list[Problem]:
    """All problems of the tables (or those of some ids), in the order of the files; raises UserError where a table has
    another schema."""
    return [of_row(row) for path in paths for row in tables.read(path, schemas.PROBLEMS, only).to_pylist()]


def stream_problems(*paths: Path) -> Iterator[Problem]:
    """Yield the problems of tables that are ordered by id, merged in this order; a few rows are in memory.

    UserError if a table has another schema or an id occurs twice.
    """
    previous = None
    for problem in heapq.merge(*map(_stream_table, paths), key=lambda problem: problem.problem_id):
        if problem.problem_id == previous:
            raise UserError(f"problem {previous!r} is twice in {', '.join(map(str, paths))}; name each source once")
        previous = problem.problem_id
        yield problem


def _stream_table(path: Path) -> Iterator[Problem]:
    for batch in tables.batches(path, schemas.PROBLEMS, rows=_BATCH):
        yield from map(of_row, batch.to_pylist())


class ProblemFile:
    """The problems of some tables by id, read when they are asked for: of each table, one row group is in memory.

    For readers that go through problems in the order of their ids, as the tables have them. An id that is in several
    tables is taken from the last of them, as from a dictionary of `read_problems`.
    """

    def __init__(self, *paths: Path) -> None:
        self._places: dict[str, tuple[Path, int]] = {}
        self._groups: dict[Path, tuple[int, dict[str, Problem]]] = {}
        for path in paths:
            for group, names in enumerate(tables.groups(path, schemas.PROBLEMS, ("problem_id",))):
                self._places.update((name, (path, group)) for name in names["problem_id"].to_pylist())

    def __contains__(self, problem_id: object) -> bool:
        return problem_id in self._places

    def __getitem__(self, problem_id: str) -> Problem:
        """KeyError where there is none of this id."""
        path, group = self._places[problem_id]
        if path not in self._groups or self._groups[path][0] != group:
            (rows,) = tables.groups(path, schemas.PROBLEMS, only=group)
            self._groups[path] = (group, {row["problem_id"]: of_row(row) for row in rows.to_pylist()})
        return self._groups[path][1][problem_id]


def of_row(row: Mapping[str, Any]) -> Problem:
    """The problem of a row of a problem table."""
    several = {name: tuple(row[name] or ()) for name in ("images", "choices", "tolerance")}
    return Problem(**{**row, **several})


def row_of(problem: Problem) -> dict[str, Any]:
    """The row of a problem table."""
    return {field: getattr(problem, field) for field in schemas.PROBLEMS.names}


def write_problems(path: Path, problems: Iterable[Problem]) -> None:
    """Write atomically, ordered by problem id, so that the same problems give the same file."""
    ordered = sorted(problems, key=lambda problem: problem.problem_id)
    tables.write(path, map(row_of, ordered), schemas.PROBLEMS)
