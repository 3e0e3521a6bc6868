"""Problem tables in, problem tables out, a few rows in memory. In: tables of sources. Out: their problems by id; of
outcomes the rows that are kept, with those that are refused in a table beside, and counts of both.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmprm.data import schemas, tables
from mmprm.data.problem import Problem
from mmprm.runtime.errors import UserError
from mmprm.runtime.progress import Progress
from mmprm.tagging.tag_result import Kept, TagResult

_BATCH = 64  # rows of a table that are read at once


def size(parents: Sequence[Path]) -> int:
    """How many problems the tables have."""
    return sum(pq.read_metadata(path).num_rows for path in parents if path.is_file())


def merged(parents: Sequence[Path]) -> Iterator[Problem]:
    """The problems of tables that are ordered by id, ordered by id. UserError where an id occurs twice."""
    last = None
    for problem in heapq.merge(*map(_problems, parents), key=lambda problem: problem.problem_id):
        if problem.problem_id == last:
            raise UserError(f"problem {last!r} is twice in {', '.join(map(str, parents))}; name each source once")
        last = problem.problem_id
        yield problem


def _problems(path: Path) -> Iterator[Problem]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH, columns=schemas.PROBLEMS.names):
                for row in pa.Table.from_batches([batch]).select(schemas.PROBLEMS.names).to_pylist():
                    for several in ("images", "choices", "tolerance"):
                        row[several] = tuple(row[several] or ())
                    yield Problem(**row)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such table; run the target that makes it, e.g. `snakemake {path}`") from error
    except (pa.ArrowException, KeyError, OSError) as error:
        raise UserError(f"{path}: not a whole problem table ({error}); delete it and run again") from error


@dataclass
class TagCounts:
    """How many solutions came to what: the counters by method, reason, number of steps, origin and number of tries."""

    problems: int = 0
    kept: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    steps: Counter[int] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    tries: Counter[int] = field(default_factory=Counter)

    def add(self, outcome: TagResult) -> None:
        """Count a solution."""
        self.problems += 1
        if not isinstance(outcome, Kept):
            self.refused[outcome.reason] += 1
            return
        self.kept[outcome.method] += 1
        self.steps[outcome.n_steps] += 1
        self.answers[outcome.answer_from] += 1
        if outcome.tries:
            self.tries[outcome.tries] += 1

    def __str__(self) -> str:
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.refused.most_common())
        return f"{self.kept.total()} kept, {self.refused.total()} refused{f' ({reasons})' if reasons else ''}"


def kept(
    name: str, outcomes: Iterable[tuple[Problem, TagResult]], total: int, bound: float, stopped: Path, counts: TagCounts
) -> Iterator[dict[str, Any]]:
    """The rows of PROBLEMS that are kept; `stopped` has the refused ones when the last of them is handed out.

    UserError, so that no table is written, where none is kept or more than the share `bound` is refused. `total`: of
    how many.
    """
    with tables.appending(stopped, schemas.REFUSED) as refuse, Progress("tagged", total, "solutions") as bar:
        for number, (problem, outcome) in enumerate(outcomes):
            counts.add(outcome)
            bar.update(number + 1)
            if isinstance(outcome, Kept):
                tagged = replace(problem, solution=outcome.solution)
                yield {column: getattr(tagged, column) for column in schemas.PROBLEMS.names}
                continue
            its = {"source": problem.source, "row": number, "problem_id": problem.problem_id}
            refuse({**its, "reason": outcome.reason, "detail": outcome.detail})
    if not counts.kept or counts.refused.total() > bound * counts.problems:
        raise UserError(
            f"source {name}: of {counts.problems} solutions {counts}; sources.{name}.max_refused_share is {bound}: "
            f"see {stopped}, and mend the solutions, change the limits, or raise the bound"
        )
