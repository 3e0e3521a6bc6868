"""Which problems belong together. In: ids, the sources' own groups, hashes of pictures. Out: a group's name for each.

Problems that share a picture, or that their source puts into one group, are not independent: an interval resamples
groups, and a problem is known where one of its group is.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class Groups:
    """The groups of problems, by their place in the table: `groups[place]`.

    A group is called as the source calls it, else by the id of its first problem; who shares with none has "".
    """

    def __init__(self, ids: pa.ChunkedArray, own: pa.ChunkedArray, pictures: pa.ChunkedArray) -> None:
        """ids, own: texts (own: "" for none); pictures: lists of 16-byte hashes. All of one length."""
        self._ids, self._own = ids, own
        self._roots = _roots(len(ids), _pairs(own, pictures))
        self._sizes = np.bincount(self._roots, minlength=len(ids))
        # The first problem of each group that its source names: of several assignments to a place the last stays.
        named = np.flatnonzero(pc.not_equal(own, "").to_numpy())[::-1]
        self._named = np.full(len(ids), -1)
        self._named[self._roots[named]] = named

    def __getitem__(self, place: int) -> str:
        root = self._roots[place]
        if (named := self._named[root]) >= 0:
            return str(self._own[named])
        return str(self._ids[root]) if self._sizes[root] > 1 else ""


def _roots(size: int, pairs: Iterator[tuple[int, int]]) -> np.ndarray:
    """The first member of each one's group, where the members of each pair are of one group: shape (size,)."""
    parents = array("q", range(size))

    def root(one: int) -> int:
        while parents[one] != one:
            parents[one] = one = parents[parents[one]]
        return one

    for one, other in pairs:
        first, second = sorted((root(one), root(other)))
        parents[second] = first
    for place in range(size):  # a parent stands before its children
        parents[place] = parents[parents[place]]
    return np.frombuffer(parents, dtype=np.int64)


def _pairs(own: pa.ChunkedArray, pictures: pa.ChunkedArray) -> Iterator[tuple[int, int]]:
    """Pairs of places that share a group of the source or a picture; enough of them to join all that do."""
    codes = pc.fill_null(own.combine_chunks().dictionary_encode().indices, 0).to_numpy()
    yield from _neighbours([codes], np.arange(len(own)), pc.not_equal(own, "").to_numpy())
    lists = pictures.combine_chunks()
    owners = pc.list_parent_indices(lists).to_numpy()
    if len(owners):
        halves: Any = np.frombuffer(b"".join(_buffers(lists)), dtype=np.uint64).reshape(-1, 2)
        yield from _neighbours([halves[:, 0], halves[:, 1]], owners, np.ones(len(owners), dtype=bool))


def _buffers(lists: pa.ListArray) -> Iterator[memoryview]:
    flat = lists.flatten()
    width = flat.type.byte_width
    yield memoryview(flat.buffers()[1])[flat.offset * width : (flat.offset + len(flat)) * width]


def _neighbours(keys: list[np.ndarray], owners: np.ndarray, use: np.ndarray) -> Iterator[tuple[int, int]]:
    """(owner, owner) of equal keys that follow one another when they are sorted."""
    order = np.lexsort(keys)
    order = order[use[order]]
    same = np.ones(max(0, len(order) - 1), dtype=bool)
    for key in keys:
        same &= key[order][1:] == key[order][:-1]
    for place in np.flatnonzero(same):
        yield int(owners[order[place]]), int(owners[order[place + 1]])
