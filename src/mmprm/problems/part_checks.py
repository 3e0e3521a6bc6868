"""Cut the rows of a source into parts and check these in processes. In: rows, finished parts. Out: all parts.

Rows are read in one process and checked in `workers` processes. Where a part ends depends only on the rows, so the
parts are the same for any number of processes and after any number of kills.
"""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from typing import Any

from mmprm.problems.part_files import IntakePart
from mmprm.runtime.errors import UserError
from mmprm.runtime.parent_death import end_with_parent

# A part ends after this many rows, or bytes of images in them; images named by paths are read one at a time.
ROWS, BYTES = 512, 2**25

NumberedRows = tuple[int, list[Any]]  # the number of the first row, and the rows


def cut_parts(rows: Iterator[Any], start: int, done: Mapping[int, int]) -> Iterator[NumberedRows]:
    """Cut rows, the first of which has the number `start`, into parts, without those `done` (first row -> rows)."""
    number = start
    while True:
        if passed := done.get(number):
            number += sum(1 for _ in islice(rows, passed))
            continue
        part: list[Any] = []
        n_bytes = 0
        while len(part) < ROWS and n_bytes < BYTES and (row := next(rows, None)) is not None:
            part.append(row)
            n_bytes += sum(map(_bytes_in, row.values())) if isinstance(row, dict) else 0
        if not part:
            return
        yield number, part
        number += len(part)


def _bytes_in(value: Any) -> int:
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, dict):
        return _bytes_in(value.get("bytes"))
    return sum(map(_bytes_in, value)) if isinstance(value, list) else 0


def check_parts(
    parts: Iterator[NumberedRows], make_part: Callable[[int, Sequence[Any]], IntakePart], workers: int
) -> Iterator[IntakePart]:
    """Check the rows of the parts; yields the parts in order. UserError where a process dies."""
    ahead = list(islice(parts, 2))
    if workers == 1 or len(ahead) < 2:  # starting processes would take longer
        yield from (make_part(*part) for part in chain(ahead, parts))
        return
    # Spawned, not forked: the parent may have threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent) as pool:
        running: deque[Future[IntakePart]] = deque()
        try:
            for part in chain(ahead, parts):
                running.append(pool.submit(make_part, *part))
                while len(running) > workers + 1:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        except BrokenProcessPool as error:
            raise UserError(
                "intake: a process that checks rows died, perhaps for lack of memory; run it again with fewer threads "
                "or more memory (finished parts are kept)"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


class IntakeProgress:
    """The finished parts, and whether the rows before the first gap can still meet the bound on refused rows.

    Parts count in the order of the rows, so that a run stops at the same row whatever was finished before.
    """

    def __init__(self, parts: Sequence[IntakePart], share: float, after: int | None, at_most: int | None) -> None:
        """Start with the finished `parts`.

        share: of the rows that may be refused; after: the number of rows from which the rows so far must meet it,
        None: never; at_most: the most rows that the source can have, None where that is unknown.
        """
        self._parts = {part.first: part for part in parts}
        self._share, self._after, self.at_most = share, after, at_most
        self.rows = 0  # before the first gap
        self.refused = 0  # of these
        self._advance()

    @property
    def done(self) -> dict[int, int]:
        """First row -> number of rows, of every finished part."""
        return {first: part.rows for first, part in self._parts.items()}

    @property
    def parts(self) -> list[IntakePart]:
        """The parts before the first gap, in order."""
        return [self._parts[first] for first in sorted(self._parts) if first < self.rows]

    def add(self, part: IntakePart) -> None:
        """Add a finished part."""
        self._parts[part.first] = part
        self._advance()

    def _advance(self) -> None:
        while self.hopeless is None and (part := self._parts.get(self.rows)):
            self.rows += part.rows
            self.refused += sum(part.refused.values())

    @property
    def hopeless(self) -> str | None:
        """Why reading on is useless; None where it is not, or all rows are read."""
        if self.at_most is not None and self.rows < self.at_most and self.refused > self._share * self.at_most:
            return f"there are at most {self.at_most:,} rows, so the bound cannot be kept"
        if self._after is not None and self.rows >= self._after and self.refused > self._share * self.rows:
            return f"after intake.judge_after ({self._after:,}) rows the share is held against the bound"
        return None
