"""Rotary positions as a model itself counts them. In: a model, one sequence's tokens and image grids. Out: positions.

InternVL-type models count tokens. The Qwen-VL families give a token a time, a row and a column (M-RoPE, arXiv
2409.12191, section 2.1), and the text after an image continues from the largest of them. transformers stores the offset
in the model (`rope_deltas`), so a sequence can be read with the offset of another one; passing positions avoids this.
"""

from collections.abc import Callable, Mapping
from typing import Any

from mmprm.runtime.errors import UserError

# The values of model_type whose get_rope_index takes the arguments of `of_sequence`; each is tested.
FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")

RopeIndex = Callable[..., Any]


def rope_index(model: Any) -> RopeIndex | None:
    """Return get_rope_index of a model, or of the model within its adapters; None if positions are one-dimensional."""
    return next((part.get_rope_index for part in model.modules() if hasattr(part, "get_rope_index")), None)


def known(model: Any) -> bool:
    """Return whether the model's position scheme is known: it counts tokens, or is one of FAMILIES."""
    return rope_index(model) is None or model.config.model_type in FAMILIES


def of_sequence(index: RopeIndex, tokens: Mapping[str, Any], grids: Any = None) -> Any:
    """Return the positions of one sequence without padding: (3, 1, length).

    tokens: `input_ids` and `mm_token_type_ids`, (1, length) each; grids: (images, 3), None without images. Raises
    UserError if the processor does not mark the tokens of an image.
    """
    if "mm_token_type_ids" not in tokens:
        raise UserError(
            "the model's processor gives no mm_token_type_ids, which Qwen-VL's positions are computed from: remove "
            "return_mm_token_type_ids: false from its processor_config.json"
        )
    positions, _ = index(
        input_ids=tokens["input_ids"], mm_token_type_ids=tokens["mm_token_type_ids"], image_grid_thw=grids
    )
    return positions
