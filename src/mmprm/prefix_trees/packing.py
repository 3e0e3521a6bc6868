"""Token sequences that share prefixes, laid out as prefix trees in one sequence. In: token sequences. Out: a Packed.

Each shared token stands once; a token attends only to itself and its ancestors, and its position is that in its path,
so a causal model computes for it exactly what it would in any of the paths through it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmprm.model.tokens import common_prefix, has_known_positions, rope_index, rope_positions
from mmprm.runtime.errors import UserError

Tokens = dict[str, np.ndarray]  # a path: input_ids and the processor's other per-token arrays, each of shape (length,)


@dataclass(frozen=True)
class Packed:
    """A forest in depth-first order, `n` tokens long.

    tokens: the paths' arrays, by name, each (n,). depth: (n,), how many tokens of its path precede a token. last: (n,),
    the last token of each token's subtree. path_indices: for each path, the indices of its tokens in the sequence.
    """

    tokens: Tokens
    depth: np.ndarray
    last: np.ndarray
    path_indices: tuple[np.ndarray, ...]

    @property
    def length(self) -> int:
        """The number of tokens."""
        return len(self.depth)

    def mask(self) -> np.ndarray:
        """Return (n, n) of bool: whether the row's token attends to the column's, itself or an ancestor.

        In depth-first order a token's subtree is the range from itself to its last token, so two comparisons suffice.
        """
        row, column = np.arange(self.length)[:, None], np.arange(self.length)[None, :]
        return (column <= row) & (row <= self.last[None, :])


def pack(paths: Sequence[Tokens]) -> Packed:
    """Pack paths into one tree (a forest if they share no first token); equal paths share all their tokens.

    Raises ValueError if there is no path, an empty one, or if their arrays differ in name.
    """
    if not paths:
        raise ValueError("there is nothing to pack: no path")
    names, rows = _rows(paths)
    return _tree(names, rows, _depth_first(rows))


def pack_within(paths: Sequence[Tokens], budget: int) -> list[tuple[list[int], Packed]]:
    """Pack paths into trees of at most `budget` tokens; return each with its paths' indices, as its path_indices are.

    A longer path is a tree of its own. Neighbours in the tree stay together. Raises ValueError as `pack` does, but no
    path gives no tree.
    """
    if not paths:
        return []
    names, rows = _rows(paths)
    groups: list[list[int]] = []
    size = 0
    for index in _depth_first(rows):
        shared = common_prefix(rows[groups[-1][-1]], rows[index]) if groups else 0
        if not groups or size + len(rows[index]) - shared > budget:
            groups.append([])
            size, shared = 0, 0
        groups[-1].append(index)
        size += len(rows[index]) - shared
    return [(group, _tree(names, [rows[index] for index in group], range(len(group)))) for group in groups]


def _rows(paths: Sequence[Tokens]) -> tuple[list[str], list[np.ndarray]]:
    """Return the names of the paths' arrays, and each path as a matrix (length, names)."""
    names = list(paths[0])
    if any(list(path) != names for path in paths):
        raise ValueError(f"paths have differing arrays: {sorted({tuple(path) for path in paths})}")
    if any(len(path["input_ids"]) == 0 for path in paths):
        raise ValueError("there is nothing to pack: an empty path")
    return names, [np.stack([path[name] for name in names], axis=1).astype(np.int64) for path in paths]


def _depth_first(rows: Sequence[np.ndarray]) -> list[int]:
    """Return the paths' indices in lexicographic order of their tokens, which is that of a depth-first walk."""
    # Big-endian bytes are ordered as the numbers are (none is negative).
    return sorted(range(len(rows)), key=lambda index: (rows[index].astype(">i8").tobytes(), index))


def _tree(names: Sequence[str], rows: Sequence[np.ndarray], order: Sequence[int]) -> Packed:
    """Build the tree of the paths `rows`, which are visited in `order`, that of `_depth_first`."""
    path_indices: list[np.ndarray] = [np.zeros(0, dtype=np.int64)] * len(rows)
    fresh: list[np.ndarray] = []
    n = 0
    previous, indices = rows[0][:0], path_indices[0]  # the path before and its indices: initially empty
    for path in order:
        row = rows[path]
        shared = common_prefix(previous, row)
        indices = path_indices[path] = np.concatenate([indices[:shared], np.arange(n, n + len(row) - shared)])
        fresh.append(row[shared:])
        n += len(row) - shared
        previous = row
    tokens = np.concatenate(fresh)
    depth, last = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    for indices in path_indices:
        depth[indices] = np.arange(len(indices))
        np.maximum.at(last, indices, indices[-1])  # a token's subtree extends to the end of every path through it
    return Packed({name: tokens[:, column] for column, name in enumerate(names)}, depth, last, tuple(path_indices))


def join(trees: Sequence[Packed]) -> Packed:
    """Concatenate trees, none of which sees another; `path_indices` has the paths of the first tree first."""
    starts = np.cumsum([0, *(tree.length for tree in trees)])[:-1]
    return Packed(
        {name: np.concatenate([tree.tokens[name] for tree in trees]) for name in trees[0].tokens},
        np.concatenate([tree.depth for tree in trees]),
        np.concatenate([tree.last + start for tree, start in zip(trees, starts, strict=True)]),
        tuple(indices + start for tree, start in zip(trees, starts, strict=True) for indices in tree.path_indices),
    )


def supports(model: Any) -> bool:
    """Return whether a model can read trees: its position scheme is known, and no layer has a sliding window."""
    config = model.config.get_text_config()
    alike = ["sliding_attention" if getattr(config, "sliding_window", None) else "full_attention"]
    kinds = alike if getattr(config, "layer_types", None) is None else config.layer_types
    return has_known_positions(model) and all(kind == "full_attention" for kind in kinds)


class TreePositions:
    """Counts the positions of one model's trees: depths, or in three dimensions what it counts for each path."""

    def __init__(self, model: Any) -> None:
        self._rope_index = rope_index(model)  # none of the model's state

    def __call__(self, trees: Sequence[Packed], counts: Sequence[int], images: Mapping[str, Any]) -> Any:
        """Return position_ids, (1, n) or (3, 1, n) for three dimensions, over the trees one after another.

        counts: how many images each tree has; images: the processor's output for all of them, in order. Raises
        UserError if the number of grids differs, or if two paths disagree over a token that they share.
        """
        import torch

        if self._rope_index is None:
            return torch.from_numpy(np.concatenate([tree.depth for tree in trees]))[None]
        grids = images.get("image_grid_thw", torch.zeros(0, 3, dtype=torch.long))
        if len(grids) != sum(counts):
            raise UserError(f"{sum(counts)} images have {len(grids)} image_grid_thw: is the processor the model's own?")
        split = zip(trees, grids.split(list(counts)), strict=True)
        parts = [_tree_positions(self._rope_index, tree, part if len(part) else None) for tree, part in split]
        return torch.cat(parts, dim=-1)


def _tree_positions(index: Callable[..., Any], tree: Packed, grids: Any) -> Any:
    """Return (3, 1, n): each path's positions at its tokens' indices."""
    import torch

    positions = torch.full((3, 1, tree.length), -1)
    for indices in tree.path_indices:
        path = {name: torch.from_numpy(values[indices])[None] for name, values in tree.tokens.items()}
        expected = rope_positions(index, path, grids)
        known = positions[..., indices]
        if ((known >= 0) & (known != expected)).any():
            raise UserError(
                "two paths of a problem count the positions of tokens that they share differently, so they cannot be "
                "one tree: set prm.packing to paths, and engine.kind to vllm"
            )
        positions[..., indices] = expected
    return positions
