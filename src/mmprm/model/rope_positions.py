"""Rotary positions as a model itself counts them. In: a model, one sequence's tokens and image grids. Out: positions.

InternVL-type models count tokens. Qwen-VL's families give a token a time, a row and a column (M-RoPE, arXiv 2409.12191,
section 2.1), and the text after an image goes on from the largest of them. transformers keeps by how much in the model
(`rope_deltas`), so that a sequence may be read with the offset of another one: who passes positions is free of that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mmprm.runtime.errors import UserError

# The values of model_type whose get_rope_index takes what `of_sequence` gives it; each is tested.
FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")

RopeIndex = Callable[..., Any]


def rope_index(model: Any) -> RopeIndex | None:
    """The get_rope_index of a model or of the model within its adapters; None where positions have one dimension."""
    return next((part.get_rope_index for part in model.modules() if hasattr(part, "get_rope_index")), None)


def known(model: Any) -> bool:
    """Do we know how the model counts: tokens, or as one of FAMILIES?"""
    return rope_index(model) is None or model.config.model_type in FAMILIES


def of_sequence(index: RopeIndex, tokens: Mapping[str, Any], grids: Any = None) -> Any:
    """(3, 1, length): the positions of one sequence without padding.

    tokens: `input_ids` and `mm_token_type_ids`, (1, length) each; grids: (images, 3), None without images. Raises
    UserError where the processor did not tell which tokens are an image's.
    """
    if "mm_token_type_ids" not in tokens:
        raise UserError(
            "the model's processor gives no mm_token_type_ids, without which Qwen-VL's positions cannot be counted: "
            "take return_mm_token_type_ids: false out of its processor_config.json"
        )
    found, _ = index(input_ids=tokens["input_ids"], mm_token_type_ids=tokens["mm_token_type_ids"], image_grid_thw=grids)
    return found
