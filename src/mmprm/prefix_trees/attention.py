"""Attention over prefix trees that computes only visible pairs. In: queries, keys, values, a plan. Out: outputs.

A dense mask over a whole tree costs as much as the pairs that it masks. On CUDA, FlexAttention skips the blocks in
which no pair is visible. On the CPU a plan divides attention into a few ordinary calls: in depth-first order the tokens
below a segment of the tree follow it directly, and attend to all of it, so a large segment (image and question) is one
call for all of them. The tokens that a path adds to those before it are one run; short runs are padded into one call.

Registered with transformers under NAME; without a tree it is sdpa, so a model still reads ordinary batches.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmprm.prefix_trees.packing import Packed

NAME = "mmprm_tree"
_CHUNK = 1024  # queries of a call: the most rows of its mask
_WASTE = 2**15  # pairs that padding may add to a call, beside a quarter of it: about the cost of a call
_LARGE = 2**17  # pairs of a segment and the tokens below it from which on it has a call of its own


def model_inputs(packed: Packed, position_ids: Any = None, device: str = "cpu") -> dict[str, Any]:
    """Return the inputs of a model with `install`: the tokens' arrays (1, n), position_ids, and the `tree`.

    position_ids: as `TreePositions` computes them (default: the depths). device: where the model computes, `cpu` or
    `cuda`. `tree` is a plan with its masks, or on CUDA only Packed.last (n,).
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

        kwargs |= {"dropout": dropout, "scaling": scaling}
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)[0], None
    # Under autocast rotary positions leave queries and keys in float32. The CPU's kernel takes no states of two dtypes;
    # FlexAttention uncompiled answers in float32, and nothing says what its compiled kernel does.
    query, key = query.to(value.dtype), key.to(value.dtype)
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
    options = {"block_mask": tree["blocks"], "scale": scaling, "enable_gqa": query.shape[1] != key.shape[1]}
    return _flex(query.is_cuda)(query, key, value, **options)


def install(model: Any) -> None:
    """Make the model's language layers attend by `attend`; the vision encoder keeps its own attention."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.config.get_text_config()._attn_implementation = NAME


@dataclass(frozen=True)
class _Segment:
    """Tokens start..stop, each the only child of the one before; the tokens stop..end are those below them."""

    start: int
    stop: int
    end: int


@dataclass(frozen=True)
class _Run:
    """Tokens start..stop, and the tokens `keys` of their path that no segment covers, of which these are the last."""

    start: int
    stop: int
    keys: np.ndarray

    @property
    def fresh(self) -> int:
        return self.stop - self.start

    @property
    def causal(self) -> bool:  # it attends to itself alone
        return self.fresh == len(self.keys)


def _large_segments(packed: Packed) -> list[_Segment]:
    """Return the segments worth a call of their own, from the root down; above each there are only such ones."""
    last = packed.last
    starts = np.flatnonzero(np.diff(last, prepend=-1))  # along a segment the subtree ends at the same token
    leaves = np.cumsum(last == np.arange(packed.length))
    large: list[_Segment] = []
    above: list[_Segment] = []  # the large segments on the path of the walk
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), packed.length], strict=True):
        while above and above[-1].end <= start:
            above.pop()
        segment = _Segment(start, stop, int(last[start]) + 1)
        below = segment.end - stop
        runs = leaves[segment.end - 1] - leaves[stop - 1]
        # Without it each run below but the first would copy the keys; with it each token below merges two outputs.
        worth = (stop - start) * below >= _LARGE and (runs - 1) * (stop - start) >= below
        if worth and packed.depth[start] == sum(other.stop - other.start for other in above):
            large.append(segment)
            above.append(segment)
    return large


def _runs(packed: Packed, segments: Sequence[_Segment]) -> list[_Run]:
    runs: list[_Run] = []
    covered = np.zeros(packed.length, dtype=bool)
    for segment in segments:
        runs.append(_Run(segment.start, segment.stop, np.arange(segment.start, segment.stop)))
        covered[segment.start : segment.stop] = True
    n = 0
    for path in sorted(packed.path_indices, key=lambda indices: int(indices[-1])):
        keys = path[~covered[path]]
        fresh = int(np.searchsorted(keys, n))  # the first token of the path that no earlier path has
        chunk = _CHUNK if fresh else max(1, len(keys))  # a causal run needs no mask
        for first in range(fresh, len(keys), chunk):
            stop = min(first + chunk, len(keys))
            runs.append(_Run(int(keys[first]), int(keys[stop - 1]) + 1, keys[:stop]))
        n = max([n, *(keys[-1:] + 1)])
    return runs


def _calls(runs: Sequence[_Run]) -> list[list[_Run]]:
    """Group runs that are padded into one call: similar in size, so that padding adds little; causal ones apart."""
    calls: list[list[_Run]] = []
    pairs = width = 0
    for run in sorted(runs, key=lambda run: (not run.causal, -run.fresh, -len(run.keys), run.start)):
        longest = max(width, len(run.keys))
        exact = pairs + run.fresh * len(run.keys)
        padded = (len(calls[-1]) + 1) * calls[-1][0].fresh * longest if calls else 0
        if not calls or calls[-1][0].causal != run.causal or padded > exact + max(_WASTE, exact // 4):
            calls.append([])
            pairs, exact, longest = 0, run.fresh * len(run.keys), len(run.keys)
        calls[-1].append(run)
        pairs, width = exact, longest
    return calls


def plan(packed: Packed) -> dict[str, Any]:
    """Return what `attention.attend` needs, as tensors (they move to a device with a batch).

    calls: (queries (runs, q), keys (runs, k), real (runs, q), mask (runs, 1, q, k)) each: `real` is False at padding of
    the queries; the mask has no rows if the runs are causal (their padding stands last). query_order: (n,), the index
    of each token among the calls' queries. segments: (start, stop, end): stop..end attend to all of start..stop, too.
    """
    import torch

    segments = _large_segments(packed)
    calls = []
    query_order = np.zeros(packed.length, dtype=np.int64)
    offset = 0
    for call in _calls(_runs(packed, segments)):
        q, k = call[0].fresh, max(len(run.keys) for run in call)
        queries, keys = np.zeros((len(call), q), dtype=np.int64), np.zeros((len(call), k), dtype=np.int64)
        real = np.zeros((len(call), q), dtype=bool)
        mask = np.zeros((0 if call[0].causal else len(call), 1, q, k), dtype=bool)
        mask[..., :1] = True  # a row of padding attends to something, so that its softmax is a number
        for row, run in enumerate(call):
            queries[row, : run.fresh] = np.arange(run.start, run.stop)
            keys[row, : len(run.keys)] = run.keys
            real[row, : run.fresh] = True
            if not run.causal:
                visible = len(run.keys) - run.fresh + np.arange(run.fresh)
                mask[row, 0, : run.fresh] = np.arange(k)[None, :] <= visible[:, None]
            query_order[run.start : run.stop] = offset + row * q + np.arange(run.fresh)
        offset += queries.size
        calls.append(tuple(torch.from_numpy(part) for part in (queries, keys, real, mask)))
    return {
        "calls": calls,
        "query_order": torch.from_numpy(query_order),
        "segments": [(segment.start, segment.stop, segment.end) for segment in segments],
    }
