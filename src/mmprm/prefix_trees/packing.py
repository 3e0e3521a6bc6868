"""Token sequences that share prefixes, laid out as prefix trees in one sequence. In: paths. Out: a Packed.

All paths of a problem share the image, the question and many steps. Each shared token stands once; a token attends to
itself and to its ancestors alone, and its position is that in its path, so that a causal model computes for each token
just what it would in any of the paths that go through it. (How a model counts positions: `positions`.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmprm.model import rope_positions
from mmprm.model.tokens import common_prefix

Path = dict[str, np.ndarray]  # input_ids and whatever else a processor gives a token, each of shape (length,)


@dataclass(frozen=True)
class Packed:
    """A forest in depth-first order, `n` tokens long.

    tokens: the paths' arrays, by name, each (n,). depth: (n,), how many tokens of its path precede a token. last: (n,),
    the last token of the subtree of each token. places: for each path, where its tokens stand.
    """

    tokens: Path
    depth: np.ndarray
    last: np.ndarray
    places: tuple[np.ndarray, ...]

    @property
    def length(self) -> int:
        """How many tokens."""
        return len(self.depth)

    def mask(self) -> np.ndarray:
        """(n, n) of bool: may the row's token attend to the column's? To itself and its ancestors.

        In depth-first order a token's subtree is the run from itself to its last, so this is two comparisons; a block
        mask can make them without the whole matrix.
        """
        row, column = np.arange(self.length)[:, None], np.arange(self.length)[None, :]
        return (column <= row) & (row <= self.last[None, :])


def pack(paths: Sequence[Path]) -> Packed:
    """One tree of paths (a forest where they share no first token); equal paths share all their tokens.

    ValueError for no path, an empty one, or arrays of differing names.
    """
    if not paths:
        raise ValueError("there is nothing to pack: no path")
    names, rows = _rows(paths)
    return _tree(names, rows, _in_order(rows))


def pack_within(paths: Sequence[Path], budget: int) -> list[tuple[list[int], Packed]]:
    """Trees of at most `budget` tokens, each with the indices of its paths, in the order of its `places`.

    A longer path is a tree of its own. Neighbours in the tree stay together, so that little more than the prefix above
    a cut is repeated. ValueError as for `pack`, but no path makes no tree.
    """
    if not paths:
        return []
    names, rows = _rows(paths)
    groups: list[list[int]] = []
    size = 0
    for index in _in_order(rows):
        shared = common_prefix(rows[groups[-1][-1]], rows[index]) if groups else 0
        if not groups or size + len(rows[index]) - shared > budget:
            groups.append([])
            size, shared = 0, 0
        groups[-1].append(index)
        size += len(rows[index]) - shared
    return [(group, _tree(names, [rows[index] for index in group], range(len(group)))) for group in groups]


def _rows(paths: Sequence[Path]) -> tuple[list[str], list[np.ndarray]]:
    """The names of the paths' arrays, and each path's tokens (length, names)."""
    names = list(paths[0])
    if any(list(path) != names for path in paths):
        raise ValueError(f"paths have differing arrays: {sorted({tuple(path) for path in paths})}")
    if any(len(path["input_ids"]) == 0 for path in paths):
        raise ValueError("there is nothing to pack: an empty path")
    return names, [np.stack([path[name] for name in names], axis=1).astype(np.int64) for path in paths]


def _tree(names: Sequence[str], rows: Sequence[np.ndarray], order: Sequence[int]) -> Packed:
    """The tree of rows of tokens, which are walked in `order`, that of `_in_order`."""
    places: list[np.ndarray] = [np.zeros(0, dtype=np.int64)] * len(rows)
    fresh: list[np.ndarray] = []
    n = 0
    before, place = rows[0][:0], places[0]  # the path before and where it stands: at first an empty one
    for index in order:
        row = rows[index]
        shared = common_prefix(before, row)
        place = places[index] = np.concatenate([place[:shared], np.arange(n, n + len(row) - shared)])
        fresh.append(row[shared:])
        n += len(row) - shared
        before = row
    tokens = np.concatenate(fresh)
    depth, last = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    for place in places:
        depth[place] = np.arange(len(place))
        np.maximum.at(last, place, place[-1])  # where a path goes through a token, the token's subtree reaches its end
    return Packed({name: tokens[:, column] for column, name in enumerate(names)}, depth, last, tuple(places))


def join(trees: Sequence[Packed]) -> Packed:
    """Several trees one after another; none sees another. `places` has the paths of the first tree first."""
    starts = np.cumsum([0, *(tree.length for tree in trees)])[:-1]
    return Packed(
        {name: np.concatenate([tree.tokens[name] for tree in trees]) for name in trees[0].tokens},
        np.concatenate([tree.depth for tree in trees]),
        np.concatenate([tree.last + start for tree, start in zip(trees, starts, strict=True)]),
        tuple(place + start for tree, start in zip(trees, starts, strict=True) for place in tree.places),
    )


def packs(model: Any) -> bool:
    """Can this model read trees? We must know how it counts positions, and every layer must see the whole path.

    A layer with a sliding window counts tokens between, not those of the path.
    """
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    if kinds is None:  # the layers are all alike
        kinds = ["sliding_attention" if getattr(config, "sliding_window", None) else "full_attention"]
    return rope_positions.known(model) and all(kind == "full_attention" for kind in kinds)


def _in_order(rows: Sequence[np.ndarray]) -> list[int]:
    """The indices of token rows in lexicographic order: that of a depth-first walk, each path next to its kin."""
    # Bytes of big-endian numbers are ordered as the numbers are (none is negative).
    return sorted(range(len(rows)), key=lambda index: (rows[index].astype(">i8").tobytes(), index))
