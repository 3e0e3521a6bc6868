"""Attention path by path, and by blocks, is attention with the dense mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmprm.training import packing, tree_attention

TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=9)
FORESTS = st.lists(st.lists(TOKENS, min_size=1, max_size=6), min_size=1, max_size=3)


def forest(trees: list[list[list[int]]]) -> packing.Packed:
    return packing.join([packing.pack([{"input_ids": np.asarray(path)} for path in paths]) for paths in trees])


def states(n: int, heads: int, fewer: int) -> list[torch.Tensor]:
    """Query, key and value of n tokens, in doubles."""
    random = torch.Generator().manual_seed(n)
    return [
        torch.randn(1, count, n, 4, generator=random, dtype=torch.double, requires_grad=True)
        for count in (heads, fewer, fewer)
    ]


def dense(packed: packing.Packed, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    mask = torch.from_numpy(packed.mask())[None, None]
    attention = torch.nn.functional.scaled_dot_product_attention
    return attention(query, key, value, attn_mask=mask, scale=0.5, enable_gqa=True).transpose(1, 2)


@settings(max_examples=60)
@given(
    trees=FORESTS, fewer=st.sampled_from([1, 2]), chunk=st.sampled_from([1, 3, 1024]), waste=st.sampled_from([0, 99])
)
def test_outputs_and_gradients_are_those_of_the_dense_mask(
    trees: list[list[list[int]]], fewer: int, chunk: int, waste: int
) -> None:
    packed = forest(trees)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_attention, "_CHUNK", chunk)
        patch.setattr(tree_attention, "_WASTE", waste)
        plan = tree_attention.plan(packed)
    inputs = states(packed.length, 2, fewer)
    expected = dense(packed, *inputs)
    found, _ = tree_attention.attend(None, *inputs, None, scaling=0.5, tree=plan)
    assert torch.allclose(found, expected, atol=1e-10)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    for one, other in zip(
        torch.autograd.grad((expected * weights).sum(), inputs),
        torch.autograd.grad((found * weights).sum(), inputs),
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-10)


@settings(max_examples=10, deadline=None)
@given(trees=FORESTS)
def test_the_block_mask_is_the_dense_mask(trees: list[list[list[int]]]) -> None:
    """FlexAttention uncompiled, as any machine can run it; compiled on CUDA it takes the same mask."""
    packed = forest(trees)
    inputs = [state.detach().float() for state in states(packed.length, 2, 1)]
    found = tree_attention._by_blocks(*inputs, 0.5, {"last": torch.from_numpy(packed.last)})
    assert torch.allclose(found.transpose(1, 2), dense(packed, *inputs), atol=1e-5)


def test_only_pairs_that_see_each_other_are_computed() -> None:
    """Sixteen long paths with a long common prefix: padding adds little, and no call has the whole matrix."""
    random = np.random.default_rng(0)
    prefix = np.arange(900)
    packed = packing.pack(
        [{"input_ids": np.concatenate([prefix, random.integers(1000, 2000, 100)])} for _ in range(16)]
    )
    calls = tree_attention.plan(packed)["calls"]
    computed = sum(queries.numel() * keys.shape[1] for queries, keys, _ in calls)
    exact = packed.mask().sum() + 900 * 899 // 2 + 16 * 100 * 99 // 2  # a causal call is counted as its whole square
    assert computed <= 1.3 * exact
    assert max(mask.numel() for *_, mask in calls) < packed.length**2 / 2
