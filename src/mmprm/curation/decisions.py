"""The rules in their order, the mix, and the test. In: a pool and settings. Out: what became of each problem."""

from __future__ import annotations

import numpy as np

from mmprm.config.curation import CuratedSource
from mmprm.curation import mix
from mmprm.curation.benchmarks import SIMPLE, BenchmarkMatcher
from mmprm.curation.duplicates import duplicates, groups
from mmprm.curation.funnel import COLUMNS, KEPT, SET_ASIDE, Fate
from mmprm.curation.problem_index import ProblemIndex
from mmprm.curation.row_rules import refusals
from mmprm.curation.similarity import Pictures, Rows
from mmprm.curation.test_split import set_aside

_SAYS = {
    "picture": "a picture of it is one of",
    "near_picture": "a picture of it is nearly one of",
    "text": "it asks what is asked in",
    "reworded": "it asks, in other words, what is asked in",
}


class Decided:
    """What became of each problem of a pool. `fates` and `groups` have an entry a row of the first `n_tables`."""

    def __init__(self, pool: ProblemIndex, source: CuratedSource, n_tables: int, seed: int) -> None:
        self.pool = pool
        self.source = source
        self.n_rows = int((pool.table < n_tables).sum())
        self._ended: dict[int, tuple[str, str]] = {
            row: (found.rule, found.detail) for row, found in refusals(pool, self.n_rows, source).items()
        }
        self._hits: dict[int, tuple[str, str]] = {}
        repeated = self._compare()
        left = self._left()
        self.groups = dict(zip(left.tolist(), groups(pool, self._pictures, left, repeated), strict=True))
        self._choose(seed)
        self.fates = self._fates()

    def _left(self) -> Rows:
        return np.array([row for row in range(self.n_rows) if row not in self._ended], dtype=np.int64)

    def _compare(self) -> dict[int, int]:
        """The rules that compare problems: duplicate -> the row that it repeats."""
        pool, rules = self.pool, self.source.rules
        left, tested = self._left(), np.arange(self.n_rows, len(pool))
        used = np.zeros(len(pool.hashes), dtype=bool)
        for row in np.concatenate([left, tested]).tolist():
            used[pool.picture[row]] = True
        self._pictures = Pictures(pool, used, self.source.min_detail)
        hits = BenchmarkMatcher(pool, self._pictures, left, tested).hits() if rules.in_benchmark else {}
        for row, hit in hits.items():
            self._ended[row] = ("in_benchmark", f"{_SAYS[hit.by]} {pool.ids[hit.tested]}")
            self._hits[row] = (pool.ids[hit.tested], hit.by)
        repeated = duplicates(pool, self._pictures, self._left()) if rules.near_duplicate else {}
        self._ended |= {row: ("near_duplicate", f"it repeats {pool.ids[first]}") for row, first in repeated.items()}
        return repeated

    def _choose(self, seed: int) -> None:
        """The target mix, then the test."""
        left, source = self._left().tolist(), self.source
        ids = [self.pool.ids[row] for row in left]
        if source.has_target:
            values = {str(column): [self.values(column)[row] for row in left] for column in source.mix}
            size = source.size + source.test_size if source.size else mix.largest(source.shares, values, len(left))
            taken = mix.take(ids, values, source.shares, size, seed)
            for place in set(range(len(left))) - taken:
                self._ended[left[place]] = ("over_mix", "there are enough of its kind")
            left = [left[place] for place in sorted(taken)]
            ids = [self.pool.ids[row] for row in left]
        for place in set_aside(ids, [self.groups[row] for row in left], source.test_size, seed):
            self._ended[left[place]] = (SET_ASIDE, "")

    def values(self, column: str) -> list[str]:
        """A column of the mix: each row's value."""
        return [value or "" for value in self.pool.column(COLUMNS.get(column, column))[: self.n_rows]]

    def _fates(self) -> list[Fate]:
        pool = self.pool
        kinds, families, sources = (self.values(name) for name in ("answer_type", "family", "source"))
        found = []
        for row in range(self.n_rows):
            ended, detail = self._ended.get(row, (KEPT, ""))
            flags = self._flags(row, kinds[row]) if ended in (KEPT, SET_ASIDE) else ()
            tested, by = self._hits.get(row, ("", ""))
            fate = Fate(pool.ids[row], sources[row], kinds[row], families[row], flags, ended, detail, tested, by)
            found.append(fate)
        return found

    def _flags(self, row: int, kind: str) -> tuple[str, ...]:
        detail = self.pool.detail[row]
        says = {
            "several_blanks": kind == "several",
            "answer_in_words": kind == "text",
            "simple_picture": bool(len(detail)) and max(detail) < SIMPLE,
            "in_a_group": bool(self.groups[row]),
        }
        return tuple(flag for flag, true in says.items() if true)
