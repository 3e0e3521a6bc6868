"""The position_ids of trees. In: trees and their images' grids. Out: a tensor for the sequence of all of them.

In a model with one-dimensional positions a token's is its depth. With three dimensions, each path has the positions
that the model counts over this path alone (`mmprm.model.rope_positions`); a token's are the same in all its paths.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmprm.model import rope_positions
from mmprm.prefix_trees.packing import Packed
from mmprm.runtime.errors import UserError


class TreePositions:
    """Counts the positions of one model's trees; keeps only its get_rope_index, none of its state."""

    def __init__(self, model: Any) -> None:
        self._rope_index = rope_positions.rope_index(model)

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
        parts = [
            _tree_positions(self._rope_index, tree, tree_grids if len(tree_grids) else None)
            for tree, tree_grids in zip(trees, grids.split(list(counts)), strict=True)
        ]
        return torch.cat(parts, dim=-1)


def _tree_positions(rope_index: rope_positions.RopeIndex, tree: Packed, grids: Any) -> Any:
    """Return (3, 1, n): each path's positions at its tokens' indices."""
    import torch

    positions = torch.full((3, 1, tree.length), -1)
    for indices in tree.path_indices:
        path = {name: torch.from_numpy(values[indices])[None] for name, values in tree.tokens.items()}
        expected = rope_positions.of_sequence(rope_index, path, grids)
        known = positions[..., indices]
        if ((known >= 0) & (known != expected)).any():
            raise UserError(
                "two paths of a problem count the positions of tokens that they share differently, so they cannot be "
                "one tree: set prm.packing to paths, and engine.kind to vllm"
            )
        positions[..., indices] = expected
    return positions
