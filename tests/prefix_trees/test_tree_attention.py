"""Attention path by path, and by blocks, is attention with the dense mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmprm.prefix_trees import attention, packing

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


@settings(max_examples=100)
@given(
    trees=FORESTS,
    fewer=st.sampled_from([1, 2]),
    chunk=st.sampled_from([1, 3, 1024]),
    waste=st.sampled_from([0, 99]),
    large=st.sampled_from([1, 9, 2**17]),
)
def test_outputs_and_gradients_are_those_of_the_dense_mask(
    trees: list[list[list[int]]], fewer: int, chunk: int, waste: int, large: int
) -> None:
    packed = forest(trees)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "_CHUNK", chunk)
        patch.setattr(attention, "_WASTE", waste)
        patch.setattr(attention, "_LARGE", large)
        plan = attention.plan(packed)
    inputs = states(packed.length, 2, fewer)
    expected = dense(packed, *inputs)
    found, _ = attention.attend(None, *inputs, None, scaling=0.5, tree=plan)
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
    tree = attention.model_inputs(packed, device="cuda")["tree"]
    found, _ = attention.attend(None, *inputs, None, scaling=0.5, tree=tree)
    assert torch.allclose(found, dense(packed, *inputs), atol=1e-5)


def test_flex_attention_reads_queries_and_keys_that_autocast_has_left_in_float32() -> None:
    """As in bf16 without DeepSpeed: rotary positions are float32, and make queries and keys so; values are bfloat16."""
    packed = forest([[[0, 1, 2, 3], [0, 1, 4]]])
    query, key, value = (state.detach().float() for state in states(packed.length, 2, 1))
    tree = attention.model_inputs(packed, device="cuda")["tree"]
    found, _ = attention.attend(None, query, key, value.bfloat16(), None, scaling=0.5, tree=tree)
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.float(), dense(packed, query, key, value).float(), atol=3e-2)


def test_a_batch_for_cuda_brings_no_masks_and_one_for_the_cpu_brings_its_plan() -> None:
    """The masks of a plan are dense: on CUDA nothing would read them."""
    packed = forest([[[0, 1, number, 2] for number in range(3, 9)]])
    inputs = attention.model_inputs(packed, device="cuda")
    assert list(inputs["tree"]) == ["last"] and inputs["tree"]["last"].tolist() == packed.last.tolist()
    assert all(value.numel() <= packed.length for value in inputs.values() if torch.is_tensor(value))
    plan = attention.model_inputs(packed)["tree"]
    assert sum(queries.numel() for queries, *_ in plan["calls"]) >= packed.length and "last" not in plan


def test_only_pairs_that_see_each_other_are_computed() -> None:
    """Sixteen long paths with a long common prefix: padding adds little, and the prefix is copied for none of them."""
    random = np.random.default_rng(0)
    prefix = np.arange(900)
    packed = packing.pack(
        [{"input_ids": np.concatenate([prefix, random.integers(1000, 2000, 100)])} for _ in range(16)]
    )
    plan = attention.plan(packed)
    assert plan["segments"] == [(0, 900, 2500)]
    computed = sum(queries.numel() * keys.shape[1] for queries, keys, *_ in plan["calls"]) + 900 * 1600
    exact = packed.mask().sum() + 900 * 899 // 2 + 16 * 100 * 99 // 2  # a causal call is counted as its whole square
    assert computed <= 1.1 * exact
    assert sum(keys.numel() for _, keys, *_ in plan["calls"]) == packed.length
    assert sum(mask.numel() for *_, mask in plan["calls"]) == 0


def test_segments_follow_one_another_from_the_root() -> None:
    """A question with two branches, each with many paths: all of them see the question, and each its own branch."""
    random = np.random.default_rng(0)
    question, branches = np.arange(600), np.arange(1000, 1800).reshape(2, 400)
    packed = packing.pack(
        [
            {"input_ids": np.concatenate([question, branch, random.integers(2000, 3000, 50)])}
            for branch in branches
            for _ in range(10)
        ]
    )
    assert attention.plan(packed)["segments"] == [(0, 600, 2400), (600, 1000, 1500), (1500, 1900, 2400)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_lower_precision_differs_by_its_rounding_alone(dtype: torch.dtype, tolerance: float) -> None:
    """As under autocast, where rotary positions leave queries and keys in float32."""
    random = np.random.default_rng(0)
    prefix = np.arange(400)
    packed = packing.pack(
        [{"input_ids": np.concatenate([prefix, random.integers(1000, 1010, 100)])} for _ in range(16)]
    )
    inputs = states(packed.length, 2, 1)
    plan = attention.plan(packed)
    assert plan["segments"] and len(plan["calls"]) >= 2
    query, key, value = (state.detach().float() for state in inputs)
    found, _ = attention.attend(None, query, key, value.to(dtype), None, scaling=0.5, tree=plan)
    assert found.dtype == dtype
    assert torch.allclose(found.double(), dense(packed, *inputs), atol=tolerance)
