"""Attention whose keys come in parts, whose outputs are merged by their softmax sums. In: states, a plan. Out: outputs.

With L the logarithm of the sum of exp(score) over all keys of a query and L_i that over part i, the output is the sum
of exp(L_i - L) times the outputs of the parts. Backward, a part's probabilities are exp(score - L): the kernel computes
them from the L that it is given, so it is called part by part with the merged output and L, and gradients add up.
(The kernel is the one that scaled_dot_product_attention uses on the CPU; that function does not return L.)
"""

from collections.abc import Iterator
from typing import Any

import torch

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def attention(query: Any, key: Any, value: Any, scaling: float | None, tree: dict[str, Any]) -> Any:
    """Attend from (heads, n, d), key and value perhaps with fewer heads, to (n, heads, d). tree: from `plan`."""
    if tree.get("dtype") != query.dtype:  # once a forward pass, for all layers: the kernel adds masks to the scores
        tree["dtype"] = query.dtype
        tree["biases"] = [
            torch.zeros(mask.shape, dtype=query.dtype).masked_fill_(~mask, -torch.inf) if len(mask) else None
            for *_, mask in tree["calls"]
        ]
    return _Merged.apply(query, key, value, scaling, tree)


class _Merged(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any, scaling: float | None, tree: dict[str, Any]) -> Any:
        outputs, sums = [], []
        for (queries, keys, *_), bias in zip(tree["calls"], tree["biases"], strict=True):
            states = (_at(query, queries), _at(key, keys), _at(value, keys))
            part, part_sum = _forward(*states, 0.0, bias is None, attn_mask=bias, scale=scaling)
            outputs.append(part.transpose(1, 2).flatten(0, 1))
            sums.append(part_sum.transpose(1, 2).flatten(0, 1))
        output = torch.cat(outputs).index_select(0, tree["query_order"])  # (n, heads, d)
        logsum = torch.cat(sums).index_select(0, tree["query_order"])  # (n, heads)
        for (_, below), (q, k, v) in _segments(tree, query, key, value):
            part, part_sum = _forward(q, k, v, 0.0, False, scale=scaling)
            own_sum, part_sum = logsum[below], part_sum[0].T
            merged_sum = torch.logaddexp(own_sum, part_sum)
            output[below] *= torch.exp(own_sum - merged_sum)[..., None]
            output[below] += part[0].transpose(0, 1) * torch.exp(part_sum - merged_sum)[..., None].to(output.dtype)
            logsum[below] = merged_sum
        ctx.save_for_backward(query, key, value, output, logsum)
        ctx.scaling, ctx.tree = scaling, tree
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        query, key, value, output, logsum = ctx.saved_tensors
        gradient, output, logsum = gradients[0].transpose(0, 1), output.transpose(0, 1), logsum.T
        totals = tuple(torch.zeros_like(states) for states in (query, key, value))
        for (queries, keys, real, _), bias in zip(ctx.tree["calls"], ctx.tree["biases"], strict=True):
            states = (_at(query, queries), _at(key, keys), _at(value, keys))
            # Queries are padded with copies of the first token: an infinite sum makes all their probabilities 0.
            sums = _at(logsum[..., None], queries)[..., 0].masked_fill(~real[:, None], torch.inf)
            outer = (_at(gradient, queries), *states, _at(output, queries), sums)
            parts = _backward(*outer, 0.0, bias is None, attn_mask=bias, scale=ctx.scaling)
            for total, indices, part in zip(totals, (queries, keys, keys), parts, strict=True):
                total.index_add_(1, indices.flatten(), part.transpose(0, 1).flatten(1, 2))
        for (above, below), states in _segments(ctx.tree, query, key, value):
            outer = (gradient[None, :, below], *states, output[None, :, below], logsum[None, :, below])
            parts = _backward(*outer, 0.0, False, scale=ctx.scaling)
            for total, rows, part in zip(totals, (below, above, above), parts, strict=True):
                total[:, rows] += part[0]
        return *totals, None, None


def _segments(tree: dict[str, Any], query: Any, key: Any, value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the rows of a segment and those below it, and the states (1, heads, rows, d) of that call: views."""
    for start, stop, end in tree["segments"]:
        above, below = slice(start, stop), slice(stop, end)
        yield (above, below), (query[None, :, below], key[None, :, above], value[None, :, above])


def _at(states: Any, indices: Any) -> Any:
    """Select from (heads, n, d) at indices (runs, q): (runs, heads, q, d)."""
    return states.index_select(1, indices.flatten()).unflatten(1, indices.shape).transpose(0, 1)
