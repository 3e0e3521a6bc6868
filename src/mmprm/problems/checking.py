"""The rows of a source, checked part by part. In: rows, and the parts that there are. Out: all parts.

Rows are read in one process and checked in `workers` processes. Where a part ends hangs on the rows alone, so the
parts are the same whatever the number of processes and however often a run was killed.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from typing import Any

from mmprm.problems.parts import IntakePart
from mmprm.runtime.errors import UserError
from mmprm.runtime.parent_death import end_with_parent

# A part ends after so many rows, or bytes of the images in them; images that rows name by paths are read one at a time.
ROWS, BYTES = 512, 2**25

Stretch = tuple[int, list[Any]]  # the number of the first row, and the rows


def stretches(rows: Iterator[Any], start: int, done: Mapping[int, int]) -> Iterator[Stretch]:
    """Cut rows, of which the first has the number `start`, into the parts that are not done (first row -> rows)."""
    number = start
    while True:
        if passed := done.get(number):
            number += sum(1 for _ in islice(rows, passed))
            continue
        stretch: list[Any] = []
        n_bytes = 0
        while len(stretch) < ROWS and n_bytes < BYTES and (row := next(rows, None)) is not None:
            stretch.append(row)
            n_bytes += sum(map(_bytes_in, row.values())) if isinstance(row, dict) else 0
        if not stretch:
            return
        yield number, stretch
        number += len(stretch)


def _bytes_in(value: Any) -> int:
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, dict):
        return _bytes_in(value.get("bytes"))
    return sum(map(_bytes_in, value)) if isinstance(value, list) else 0


def check(
    found: Iterator[Stretch], checker: Callable[[int, Sequence[Any]], IntakePart], workers: int
) -> Iterator[IntakePart]:
    """The parts of the stretches, in order. UserError where a process dies."""
    ahead = list(islice(found, 2))
    if workers == 1 or len(ahead) < 2:  # to start processes would take longer
        yield from (checker(*stretch) for stretch in chain(ahead, found))
        return
    # Spawned, not forked: the parent may have threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent) as pool:
        running: deque[Future[IntakePart]] = deque()
        try:
            for stretch in chain(ahead, found):
                running.append(pool.submit(checker, *stretch))
                while len(running) > workers + 1:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        except BrokenProcessPool as error:
            raise UserError(
                "intake: a process that checks rows died, perhaps for want of memory; run it again with fewer threads "
                "or more memory (finished parts are kept)"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


class Tally:
    """Which parts there are, and whether the bound on refused rows can still be kept by the rows before the first gap.

    Looked at in the order of the rows, so that a run is stopped at the same row whatever was done before.
    """

    def __init__(self, parts: Sequence[IntakePart], share: float, after: int | None, at_most: int | None) -> None:
        """share: of the rows that may be refused; after: rows after which that is asked of those so far, None: never;
        at_most: how many rows the source can have, None where that is not known."""
        self._parts = {part.first: part for part in parts}
        self._share, self._after, self.at_most = share, after, at_most
        self.rows = 0  # before the first gap
        self.refused = 0  # of these
        self._advance()

    @property
    def done(self) -> dict[int, int]:
        """First row -> rows, of every part."""
        return {first: part.rows for first, part in self._parts.items()}

    @property
    def parts(self) -> list[IntakePart]:
        """Those before the first gap, in order."""
        return [self._parts[first] for first in sorted(self._parts) if first < self.rows]

    def add(self, part: IntakePart) -> None:
        """Take a part in."""
        self._parts[part.first] = part
        self._advance()

    def _advance(self) -> None:
        while self.hopeless is None and (part := self._parts.get(self.rows)):
            self.rows += part.rows
            self.refused += sum(part.refused.values())

    @property
    def hopeless(self) -> str | None:
        """Why it is no use to read on; None where it is, or all is read."""
        if self.at_most is not None and self.rows < self.at_most and self.refused > self._share * self.at_most:
            return f"there are at most {self.at_most:,} rows, so the bound cannot be kept"
        if self._after is not None and self.rows >= self._after and self.refused > self._share * self.rows:
            return f"after intake.judge_after ({self._after:,}) rows the share is held against the bound"
        return None
