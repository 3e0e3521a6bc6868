"""Who is like whom, without comparing all with all. In: hashes. Out: pairs.

Pictures: 256 bits in 16 bands. A pair that differs in at most 14 bits has at least two bands in common, so that sorting
by each two bands brings it together. Texts: MinHash values in bands of three. Where very many are alike, each is
compared with its WINDOW next ones in that order (the sorted neighbourhood, Hernandez and Stolfo 1995).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mmprm.curation import pictures
from mmprm.curation.problem_index import ProblemIndex
from mmprm.curation.texts import PERMUTATIONS

Keys = NDArray[np.uint64]
Rows = NDArray[np.int64]

WINDOW = 256
_BANDS = 16
_ROWS = 3  # MinHash values of a band: of two texts that share half of their words, 94 in 100 have a band in common


def together(keys: Keys) -> Iterator[tuple[Rows, Rows]]:
    """Pairs (i, j), i before j, of rows with the same key: (n,), or (n, k) whose first column must be the same and the
    others decide who is next to whom."""
    columns = keys[:, None] if keys.ndim == 1 else keys
    order = np.lexsort(columns.T[::-1])
    first = columns[order, 0]
    at = np.arange(len(order) - 1)
    for distance in range(1, WINDOW + 1):
        at = at[at + distance < len(order)]
        at = at[first[at] == first[at + distance]]
        if not len(at):
            return
        one, other = order[at], order[at + distance]
        yield np.minimum(one, other), np.maximum(one, other)


def mixed(*columns: Keys) -> Keys:
    """One key of several, by multiplication (splitmix64's constants)."""
    key = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        key = (key ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
        key *= np.uint64(0xBF58476D1CE4E5B9)
        key ^= key >> np.uint64(32)
    return key


class Pairs:
    """Distinct pairs of rows, eight bytes each: of texts by one template there are many millions."""

    _AT_ONCE = 2**20  # pairs that wait to be sorted in among the others

    def __init__(self, size: int) -> None:
        """size: rows are less."""
        self._size = size
        self._known: Rows = np.zeros(0, dtype=np.int64)
        self._new: list[Rows] = []
        self._n_new = 0

    def add(self, one: Rows, other: Rows) -> None:
        """The pairs (one[i], other[i])."""
        self._new.append(one * self._size + other)
        self._n_new += len(one)
        if self._n_new > max(self._AT_ONCE, len(self._known)):
            self._sort()

    def _sort(self) -> None:
        self._known = np.unique(np.concatenate([self._known, *self._new]))
        self._new, self._n_new = [], 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Each once, in order."""
        self._sort()
        for start in range(0, len(self._known), self._AT_ONCE):
            for code in self._known[start : start + self._AT_ONCE].tolist():
                yield divmod(code, self._size)


def text_keys(pool: ProblemIndex, rows: Rows) -> Iterator[Keys]:
    """A key of each band of the rows' MinHash values."""
    values = pool.minhash.values.reshape(-1, PERMUTATIONS)[rows]
    for start in range(0, PERMUTATIONS - _ROWS + 1, _ROWS):
        yield mixed(*(values[:, start + row] for row in range(_ROWS)))


class Pictures:
    """The pictures of a pool: which are the same, and which are near.

    `same`: of each picture the first that has the same pixels; `cluster`: of each the first that a chain of near ones
    leads to. Only pictures with `detail` of at least min_detail are near any other.
    """

    def __init__(self, pool: ProblemIndex, used: NDArray[np.bool_], min_detail: float) -> None:
        """used: of each picture, is it one of a problem that is still in?"""
        _, first, inverse = np.unique(pool.pixels, axis=0, return_index=True, return_inverse=True)
        self.same: Rows = first[inverse.ravel()] if len(first) else np.zeros(0, np.int64)
        self._near: set[tuple[int, int]] = set()
        self._pool = pool
        distinct = np.unique(self.same[used & (pool.detail.values >= min_detail)])
        parents = np.arange(len(self.same))
        for one, other in self._pairs(distinct):
            self._near.add((one, other))
            roots = sorted((root(parents, one), root(parents, other)))
            parents[roots[1]] = roots[0]
        self.cluster: Rows = np.array([root(parents, int(same)) for same in self.same], dtype=np.int64)

    def _pairs(self, distinct: Rows) -> list[tuple[int, int]]:
        hashes, pool = self._pool.hashes[distinct], self._pool
        aspects = pool.aspect.values[distinct]
        bands = hashes.view(">u2")
        found = Pairs(len(self.same))
        for one, other in combinations(range(_BANDS), 2):
            rest = [band % _BANDS for band in range(other + 1, other + 1 + _BANDS) if band % _BANDS not in (one, other)]
            ordered = np.ascontiguousarray(bands[:, [one, other, *rest]]).astype(np.uint64)
            lead = ordered[:, 0] << np.uint64(16) | ordered[:, 1]
            packed = [
                sum((ordered[:, start + k] << np.uint64(48 - 16 * k) for k in range(4)), np.uint64(0))
                for start in (2, 6, 10)
            ]
            for left, right in together(np.column_stack([lead, *packed])):
                ratio = aspects[left] / aspects[right]
                near = (ratio < pictures.ASPECT) & (ratio > 1 / pictures.ASPECT)
                near &= pictures.flips(hashes[left], hashes[right]) <= pictures.FLIPS
                found.add(distinct[left[near]], distinct[right[near]])
        return [pair for pair in found if pictures.near(pool.copy(pair[0]), pool.copy(pair[1]))]

    def near(self, one: int, other: int) -> bool:
        """Do two pictures show the same, up to compression and scaling?"""
        first, second = sorted((int(self.same[one]), int(self.same[other])))
        return first == second or (first, second) in self._near


def root(parents: Rows, row: int) -> int:
    """The first of the set that `row` is in; shortens the way there."""
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = int(parents[row])
    return row
