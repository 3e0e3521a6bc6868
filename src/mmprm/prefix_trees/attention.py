"""Attention over prefix trees that computes only visible pairs. In: queries, keys, values, a plan. Out: outputs.

A dense mask over a whole tree costs as much as the pairs that it masks. On CUDA, FlexAttention skips the blocks in
which no pair is visible. On the CPU attention is computed by a few ordinary calls, as `planning` divides it.

Registered with transformers under NAME; without a tree it is sdpa, so a model still reads ordinary batches.
"""

import functools
from typing import Any

from mmprm.prefix_trees.packing import Packed
from mmprm.prefix_trees.planning import plan

NAME = "mmprm_tree"


def model_inputs(packed: Packed, position_ids: Any = None, device: str = "cpu") -> dict[str, Any]:
    """Return the inputs of a model with `install`: the tokens' arrays (1, n), position_ids, and the `tree`.

    position_ids: as `positions` computes them (default: the depths). device: where the model computes, `cpu` or `cuda`.
    `tree` is a plan with its masks, or on CUDA only Packed.last (n,).
    """
    import torch

    return {
        **{name: torch.from_numpy(values)[None] for name, values in packed.tokens.items()},
        "attention_mask": torch.zeros(1, 1, 0, 0),  # four-dimensional, so that transformers makes none of its own
        "position_ids": torch.from_numpy(packed.depth)[None] if position_ids is None else position_ids,
        "tree": {"last": torch.from_numpy(packed.last)} if device == "cuda" else plan(packed),
    }


def attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    dropout: float = 0.0,
    scaling: float | None = None,
    tree: dict[str, Any] | None = None,
    **kwargs: Any,
) -> tuple[Any, None]:
    """Implement transformers' attention interface; without a tree this is sdpa, with its mask.

    query: (1, heads, n, d); key and value may have fewer heads; tree: see `model_inputs`. Out: (1, n, heads, d).
    """
    if tree is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return output, None
    if "calls" not in tree:
        return _by_blocks(query, key, value, scaling, tree).transpose(1, 2), None
    from mmprm.prefix_trees import merged

    return merged.attention(query[0], key[0], value[0], scaling, tree)[None], None


def block_mask(last: Any) -> Any:
    """Make FlexAttention's mask of a tree from Packed.last (n,): the two comparisons of Packed.mask."""
    from torch.nn.attention.flex_attention import create_block_mask

    def visible(_batch: Any, _head: Any, row: Any, column: Any) -> Any:
        return (column <= row) & (row <= last[column])

    return create_block_mask(visible, None, None, len(last), len(last), device=str(last.device))


@functools.cache
def _flex(compiled: bool) -> Any:
    import torch
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True) if compiled else flex_attention


def _by_blocks(query: Any, key: Any, value: Any, scaling: float | None, tree: dict[str, Any]) -> Any:
    """Attend from (1, heads, n, d) to the same shape. Compiled only on CUDA: uncompiled it computes every pair."""
    if "blocks" not in tree:  # once a forward pass, for all layers
        tree["blocks"] = block_mask(tree["last"])
    grouped = query.shape[1] != key.shape[1]
    attention = _flex(query.is_cuda)
    return attention(query, key, value, block_mask=tree["blocks"], scale=scaling, enable_gqa=grouped)


def install(model: Any) -> None:
    """Make the model's language layers attend by `attend`; the vision encoder keeps its own attention."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.config.get_text_config()._attn_implementation = NAME
