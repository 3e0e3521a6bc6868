"""Attention whose keys come in parts: a part's outputs are merged by the sums of their softmaxes. In: states, a plan.

With L the logarithm of the sum of exp(score) over all keys of a query and L_i that over part i, the output is the sum
of exp(L_i - L) times the outputs of the parts. Backward, a part's probabilities are exp(score - L): the kernel computes
them from the L that it is given, so it is called part by part with the merged output and L, and gradients add up.
(The kernel is the one that scaled_dot_product_attention takes on the CPU; that function does not return L.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def attention(query: Any, key: Any, value: Any, scaling: float | None, tree: dict[str, Any]) -> Any:
    """(heads, n, d), key and value perhaps with fewer heads, to (n, heads, d). tree: see `planning.plan`."""
    # Under autocast rotary positions leave queries and keys in float32, and no one casts what this kernel takes.
    query, key = query.to(value.dtype), key.to(value.dtype)
    if tree.get("dtype") != query.dtype:  # once a forward pass, for all layers: the kernel adds masks to the scores
        tree["dtype"] = query.dtype
        tree["biases"] = [
            torch.zeros(mask.shape, dtype=query.dtype).masked_fill_(~mask, -torch.inf) if len(mask) else None
            for *_, mask in tree["calls"]
        ]
    return _Merged.apply(query, key, value, scaling, tree)


class _Merged(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any, scaling: float | None, tree: dict[str, Any]) -> Any:
        outputs, sums = [], []
        for queries, keys, _, bias in _calls(tree):
            states = (_at(query, queries), _at(key, keys), _at(value, keys))
            found, logsum = _forward(*states, 0.0, bias is None, attn_mask=bias, scale=scaling)
            outputs.append(found.transpose(1, 2).flatten(0, 1))
            sums.append(logsum.transpose(1, 2).flatten(0, 1))
        output = torch.cat(outputs).index_select(0, tree["places"])  # (n, heads, d)
        logsum = torch.cat(sums).index_select(0, tree["places"])  # (n, heads)
        for (_, below), (q, k, v) in _segments(tree, query, key, value):
            found, other = _forward(q, k, v, 0.0, False, scale=scaling)
            mine, other = logsum[below], other[0].T
            both = torch.logaddexp(mine, other)
            output[below] *= torch.exp(mine - both)[..., None]
            output[below] += found[0].transpose(0, 1) * torch.exp(other - both)[..., None].to(output.dtype)
            logsum[below] = both
        ctx.save_for_backward(query, key, value, output, logsum)
        ctx.scaling, ctx.tree = scaling, tree
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        query, key, value, output, logsum = ctx.saved_tensors
        gradient, output, logsum = gradients[0].transpose(0, 1), output.transpose(0, 1), logsum.T
        of_query, of_key, of_value = (torch.zeros_like(states) for states in (query, key, value))
        for queries, keys, real, bias in _calls(ctx.tree):
            states = (_at(query, queries), _at(key, keys), _at(value, keys))
            # What pads the queries is a copy of the first token: an infinite sum makes all its probabilities 0.
            sums = _at(logsum[..., None], queries)[..., 0].masked_fill(~real[:, None], torch.inf)
            outer = (_at(gradient, queries), *states, _at(output, queries), sums)
            found = _backward(*outer, 0.0, bias is None, attn_mask=bias, scale=ctx.scaling)
            for total, places, part in zip((of_query, of_key, of_value), (queries, keys, keys), found, strict=True):
                total.index_add_(1, places.flatten(), part.transpose(0, 1).flatten(1, 2))
        for (above, below), states in _segments(ctx.tree, query, key, value):
            outer = (gradient[None, :, below], *states, output[None, :, below], logsum[None, :, below])
            found = _backward(*outer, 0.0, False, scale=ctx.scaling)
            for total, rows, part in zip((of_query, of_key, of_value), (below, above, above), found, strict=True):
                total[:, rows] += part[0]
        return of_query, of_key, of_value, None, None


def _calls(tree: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    for (queries, keys, real, _), bias in zip(tree["calls"], tree["biases"], strict=True):
        yield queries, keys, real, bias


def _segments(tree: dict[str, Any], query: Any, key: Any, value: Any) -> Iterator[tuple[Any, Any]]:
    """The rows of a segment and those below it, and the states (1, heads, rows, d) of that call: views, no copies."""
    for start, stop, end in tree["segments"]:
        above, below = slice(start, stop), slice(stop, end)
        yield (above, below), (query[None, :, below], key[None, :, above], value[None, :, above])


def _at(states: Any, places: Any) -> Any:
    """(heads, n, d) at places (runs, q): (runs, heads, q, d)."""
    return states.index_select(1, places.flatten()).unflatten(1, places.shape).transpose(0, 1)
