"""How large an image a model sees. In: a processor, and its model. Out: the same, limited to so many pixels an image.

The limit is written into the processor of the policy's folder, which training, sampling and scoring read alike.
"""

from __future__ import annotations

import math
from typing import Any

from mmprm.runtime.errors import UserError


def limit_pixels(processor: Any, model: Any, most: int) -> None:
    """Make the processor scale larger images down to `most` pixels; families that cut tiles take as many as fit.

    At least one tile, or the smallest grid, remains. Raises UserError if its image processor has no size that is known.
    """
    images = processor.image_processor
    size = dict(images.size or {})
    if getattr(images, "image_grid_pinpoints", None):  # LLaVA-OneVision, LLaVA-NeXT
        grids = sorted(images.image_grid_pinpoints, key=lambda grid: grid[0] * grid[1])
        allowed = [grid for grid in grids if grid[0] * grid[1] <= most] or grids[:1]
        images.image_grid_pinpoints = model.config.image_grid_pinpoints = allowed
    elif hasattr(images, "merge_size"):  # Qwen-VL, whose edges are areas
        longest = min(most, size["longest_edge"])
        images.size = {"shortest_edge": min(size["shortest_edge"], longest), "longest_edge": longest}
    elif hasattr(images, "max_patches"):  # InternVL: tiles, and the whole as one more
        tiles = max(1, most // (size["height"] * size["width"]))
        images.max_patches = min(images.max_patches, tiles)
        images.min_patches = min(images.min_patches, tiles)
    elif hasattr(images, "max_image_size"):  # Idefics3, SmolVLM: whole tiles along the longest edge
        tile = images.max_image_size["longest_edge"]
        edge = max(tile, math.isqrt(most) // tile * tile)
        images.size = {"longest_edge": min(size["longest_edge"], edge)}
    elif not 0 < _fixed_pixels(images) <= most:
        pixels = _fixed_pixels(images)
        fixed = f"images of {pixels} pixels, always" if pixels else "no size that is known"
        raise UserError(
            f"policy.images.max_pixels: {most}, but {type(images).__name__} has {fixed}: set policy.images to null"
        )


def _fixed_pixels(images: Any) -> int:
    """Return the pixels of an image, where all are brought to one size; 0 otherwise."""
    size = getattr(images, "crop_size", None) or images.size or {}
    return int(size["height"] * size["width"]) if {"height", "width"} <= set(dict(size)) else 0
