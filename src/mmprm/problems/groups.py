"""Groups of problems. In: ids, the groups of the source, hashes of pictures. Out: the name of each problem's group.

Problems that share a picture, or that their source puts into one group, are not independent: intervals resample
groups, and a problem counts as known where another one of its group is.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class Groups:
    """The groups of problems, by the problem's row: `groups[row]`.

    A group has the name that its source gives it, else the id of its first problem; "" where a problem stands alone.
    """

    def __init__(self, ids: pa.ChunkedArray, source_groups: pa.ChunkedArray, pictures: pa.ChunkedArray) -> None:
        """Join the rows; all columns have one length.

        ids, source_groups: texts ("" for no group); pictures: lists of 16-byte hashes.
        """
        self._ids, self._source_groups = ids, source_groups
        self._first = first_members(len(ids), _sharing(source_groups, pictures))
        self._sizes = np.bincount(self._first, minlength=len(ids))
        # The first row with a name, for each group: of several assignments to an index the last remains.
        named = np.flatnonzero(pc.not_equal(source_groups, "").to_numpy())[::-1]
        self._named = np.full(len(ids), -1)
        self._named[self._first[named]] = named

    def __getitem__(self, row: int) -> str:
        first = self._first[row]
        if (named := self._named[first]) >= 0:
            return str(self._source_groups[named])
        return str(self._ids[first]) if self._sizes[first] > 1 else ""


def first_members(size: int, pairs: np.ndarray) -> np.ndarray:
    """Return for each of `size` rows the first row that is connected with it, shape (size,).

    pairs: rows that are connected, shape (n, 2).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    _, labels = connected_components(graph, directed=False)
    _, first = np.unique(labels, return_index=True)
    return np.asarray(first[labels])


def _sharing(source_groups: pa.ChunkedArray, pictures: pa.ChunkedArray) -> np.ndarray:
    """Find pairs of rows that share a group of the source or a picture, enough to connect all that do: shape (n, 2)."""
    codes = pc.fill_null(source_groups.combine_chunks().dictionary_encode().indices, 0).to_numpy()
    named = np.flatnonzero(pc.not_equal(source_groups, "").to_numpy())
    pairs = [_neighbours([codes[named]], named)]
    lists = pictures.combine_chunks()
    owners = pc.list_parent_indices(lists).to_numpy()
    if len(owners):
        flat = lists.flatten()
        width = flat.type.byte_width
        content = memoryview(flat.buffers()[1])[flat.offset * width : (flat.offset + len(flat)) * width]
        halves = np.frombuffer(content, dtype=np.uint64).reshape(-1, 2)
        pairs.append(_neighbours([halves[:, 0], halves[:, 1]], owners))
    return np.concatenate(pairs)


def _neighbours(keys: Sequence[np.ndarray], owners: np.ndarray) -> np.ndarray:
    """Return the owners of equal keys that follow one another in sorted order, shape (n, 2).

    keys: columns that make up the key together.
    """
    order = np.lexsort(keys)
    same = np.ones(max(0, len(order) - 1), dtype=bool)
    for key in keys:
        same &= key[order][1:] == key[order][:-1]
    return np.column_stack([owners[order[:-1][same]], owners[order[1:][same]]])
