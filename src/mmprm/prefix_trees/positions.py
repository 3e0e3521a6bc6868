"""position_ids of trees. In: trees and the grids of their images. Out: a tensor for the sequence of all of them.

A model with positions of one dimension has a token at its depth. Where they have three, each path's are those that the
model counts over this path alone (`mmprm.model.rope_positions`), and a token stands in all its paths at the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmprm.model import rope_positions
from mmprm.prefix_trees.packing import Packed
from mmprm.runtime.errors import UserError


class TreePositions:
    """The positions of one model's trees. Keeps its get_rope_index, none of its state."""

    def __init__(self, model: Any) -> None:
        self._index = rope_positions.rope_index(model)

    def __call__(self, trees: Sequence[Packed], counts: Sequence[int], images: Mapping[str, Any]) -> Any:
        """(1, n), or (3, 1, n) for three dimensions, over the trees one after another.

        counts: how many images each tree has; images: what the processor made of all of them, in their order. Raises
        UserError where there are not as many grids, or where two paths disagree over a token that they share.
        """
        import torch

        if self._index is None:
            return torch.from_numpy(np.concatenate([tree.depth for tree in trees]))[None]
        grids = images.get("image_grid_thw", torch.zeros(0, 3, dtype=torch.long))
        if len(grids) != sum(counts):
            raise UserError(f"{sum(counts)} images have {len(grids)} image_grid_thw: is the processor the model's own?")
        parts = [
            _of_tree(self._index, tree, own if len(own) else None)
            for tree, own in zip(trees, grids.split(list(counts)), strict=True)
        ]
        return torch.cat(parts, dim=-1)


def _of_tree(index: rope_positions.RopeIndex, tree: Packed, grids: Any) -> Any:
    """(3, 1, n): each path's positions at the places of its tokens."""
    import torch

    found = torch.full((3, 1, tree.length), -1)
    for place in tree.places:
        path = {name: torch.from_numpy(values[place])[None] for name, values in tree.tokens.items()}
        own = rope_positions.of_sequence(index, path, grids)
        before = found[..., place]
        if ((before >= 0) & (before != own)).any():
            raise UserError(
                "two paths of a problem count the positions of tokens that they share in different ways, so that they "
                "cannot be one tree: set prm.packing to paths, and engine.kind to vllm"
            )
        found[..., place] = own
    return found
