"""Find similar pictures and texts without comparing all pairs. In: hashes. Out: pairs of rows; clusters of pictures.

Pictures: 256 bits in 16 bands. A pair that differs in at most 14 bits has at least two bands in common, so that sorting
by each two bands brings it together. Texts: MinHash values in bands of three. Where very many have the same key, each
is compared with its WINDOW next ones in sorted order (the sorted neighbourhood, Hernandez and Stolfo 1995).
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mmprm.curation import pictures
from mmprm.curation.problem_index import ProblemIndex
from mmprm.curation.texts import PERMUTATIONS, hashed
from mmprm.problems.groups import first_members

Keys = NDArray[np.uint64]
Rows = NDArray[np.int64]

WINDOW = 256
_BANDS = 16
_ROWS = 3  # MinHash values of a band: of two texts that share half of their words, 94 in 100 have a band in common


def pairs_by_key(keys: Keys) -> Iterator[tuple[Rows, Rows]]:
    """Yield arrays of pairs (i, j), i < j, of rows with the same key.

    keys: (n,), or (n, k) with the key in the first column; the others decide which rows are neighbours.
    """
    columns = keys[:, None] if keys.ndim == 1 else keys
    order = np.lexsort(columns.T[::-1])
    first = columns[order, 0]
    start = np.arange(len(order) - 1)
    for distance in range(1, WINDOW + 1):
        start = start[start + distance < len(order)]
        start = start[first[start] == first[start + distance]]
        if not len(start):
            return
        pair = order[start], order[start + distance]
        yield np.minimum(*pair), np.maximum(*pair)


def combined_key(*columns: Keys) -> Keys:
    """Hash several keys of each row to one, by multiplication with splitmix64's constants."""
    key = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        key = (key ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
        key *= np.uint64(0xBF58476D1CE4E5B9)
        key ^= key >> np.uint64(32)
    return key


class Pairs:
    """Distinct pairs of rows, eight bytes each: texts by one template have many millions."""

    _AT_ONCE = 2**20  # new pairs that are sorted in at once

    def __init__(self, size: int) -> None:
        """Make an empty set of pairs of rows below `size`."""
        self._size, self._n_new = size, 0
        self._known: Rows = np.zeros(0, dtype=np.int64)
        self._new: list[Rows] = []

    def add(self, first: Rows, second: Rows) -> None:
        """Add the pairs (first[i], second[i])."""
        self._new.append(first * self._size + second)
        self._n_new += len(first)
        if self._n_new > max(self._AT_ONCE, len(self._known)):
            self._sort()

    def _sort(self) -> None:
        self._known = np.unique(np.concatenate([self._known, *self._new]))
        self._new, self._n_new = [], 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield each pair once, in order."""
        self._sort()
        for start in range(0, len(self._known), self._AT_ONCE):
            for code in self._known[start : start + self._AT_ONCE].tolist():
                yield divmod(code, self._size)


def numbers_key(pool: ProblemIndex, rows: Rows) -> Keys:
    """Hash each row's numbers."""
    return np.array([hashed(" ".join(pool.numbers[row])) for row in rows], dtype=np.uint64)


def text_keys(pool: ProblemIndex, rows: Rows) -> Iterator[Keys]:
    """Yield keys of the rows for each band of their MinHash values."""
    values = pool.minhash.values.reshape(-1, PERMUTATIONS)[rows]
    for start in range(0, PERMUTATIONS - _ROWS + 1, _ROWS):
        yield combined_key(*(values[:, start + row] for row in range(_ROWS)))


class PictureClusters:
    """Which pictures of a pool are the same, and which are near each other.

    `same`: for each picture the first with the same pixels; `cluster`: for each the first that a chain of near pictures
    connects with it. Pictures with a `detail` below min_detail are near no other.
    """

    def __init__(self, pool: ProblemIndex, used: NDArray[np.bool_], min_detail: float) -> None:
        """Compare the pictures for which `used` is true: those of problems that no rule has refused."""
        _, first, inverse = np.unique(pool.pixels, axis=0, return_index=True, return_inverse=True)
        self.same: Rows = first[inverse.ravel()] if len(first) else np.zeros(0, np.int64)
        self._pool = pool
        distinct = np.unique(self.same[used & (pool.detail.values >= min_detail)])
        self._near = set(self._pairs(distinct))
        pairs = np.array(sorted(self._near), dtype=np.int64).reshape(-1, 2)
        self.cluster: Rows = first_members(len(self.same), pairs)[self.same]

    def _pairs(self, distinct: Rows) -> list[tuple[int, int]]:
        hashes, pool = self._pool.hashes[distinct], self._pool
        aspects = pool.aspect.values[distinct]
        bands = hashes.view(">u2")
        candidates = Pairs(len(self.same))
        for a, b in combinations(range(_BANDS), 2):
            rest = [band % _BANDS for band in range(b + 1, b + 1 + _BANDS) if band % _BANDS not in (a, b)]
            ordered = np.ascontiguousarray(bands[:, [a, b, *rest]]).astype(np.uint64)
            lead = ordered[:, 0] << np.uint64(16) | ordered[:, 1]
            packed = [
                sum((ordered[:, start + k] << np.uint64(48 - 16 * k) for k in range(4)), np.uint64(0))
                for start in (2, 6, 10)
            ]
            for left, right in pairs_by_key(np.column_stack([lead, *packed])):
                ratio = aspects[left] / aspects[right]
                near = (ratio < pictures.ASPECT) & (ratio > 1 / pictures.ASPECT)
                near &= pictures.flips(hashes[left], hashes[right]) <= pictures.FLIPS
                candidates.add(distinct[left[near]], distinct[right[near]])
        return [pair for pair in candidates if pictures.near(pool.copy(pair[0]), pool.copy(pair[1]))]

    def near(self, picture: int, other: int) -> bool:
        """Tell whether two pictures show the same, up to compression and scaling."""
        first, second = sorted((int(self.same[picture]), int(self.same[other])))
        return first == second or (first, second) in self._near
