"""Attention over prefix trees that computes only what a token may see. In: queries, keys, values, a plan. Out: outputs.

A dense mask over a whole tree pays for all that it masks. In depth-first order the tokens that a path adds to those
before it are one run, and see nothing but their own path: so each run attends to the keys of its path, and short runs
are padded into one call (`plan`). On CUDA, FlexAttention skips the blocks that no token of a block may see.

Registered with transformers under NAME; without a plan it is sdpa, so a model keeps working on ordinary batches.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmprm.training.packing import Packed

NAME = "mmprm_tree"
_CHUNK = 1024  # queries of a call: its mask has that many rows at most
_WASTE = 2**15  # pairs that padding may add to a call, beside a quarter of it: a call costs about as much


@dataclass(frozen=True)
class _Run:
    """Tokens start..stop, and the tokens `keys` of their path, of which these are the last."""

    start: int
    stop: int
    keys: np.ndarray

    @property
    def fresh(self) -> int:
        return self.stop - self.start

    @property
    def causal(self) -> bool:
        """Does it see itself alone?"""
        return self.fresh == len(self.keys)


def _runs(packed: Packed) -> list[_Run]:
    runs = []
    n = 0
    for place in sorted(packed.places, key=lambda place: int(place[-1])):
        fresh = int(np.searchsorted(place, n))  # the first token of the path that no path before has
        if fresh == 0:
            runs.append(_Run(n, n + len(place), place))
        else:
            for first in range(fresh, len(place), _CHUNK):
                last = min(first + _CHUNK, len(place))
                runs.append(_Run(int(place[first]), int(place[last - 1]) + 1, place[:last]))
        n = max(n, int(place[-1]) + 1)
    return runs


def _calls(runs: Sequence[_Run]) -> list[list[_Run]]:
    """Runs that are padded into one call: alike in size, so that padding adds little; causal ones among themselves."""
    calls: list[list[_Run]] = []
    pairs = width = 0
    for run in sorted(runs, key=lambda run: (not run.causal, -run.fresh, -len(run.keys), run.start)):
        longest = max(width, len(run.keys))
        exact = pairs + run.fresh * len(run.keys)
        if calls:
            padded = (len(calls[-1]) + 1) * calls[-1][0].fresh * longest
        if not calls or calls[-1][0].causal != run.causal or padded > exact + max(_WASTE, exact // 4):
            calls.append([])
            pairs, exact, longest = 0, run.fresh * len(run.keys), len(run.keys)
        calls[-1].append(run)
        pairs, width = exact, longest
    return calls


def plan(packed: Packed) -> dict[str, Any]:
    """What `attend` needs, as tensors (they travel to a device with a batch).

    calls: (queries (runs, q), keys (runs, k), mask (runs, 1, q, k)) each; without a row in the mask where the runs are
    causal, for what pads them stands behind all that they see. places: (n,), where each token stands among the calls'
    outputs, one call after another. last: (n,).
    """
    import torch

    calls = []
    places = np.zeros(packed.length, dtype=np.int64)
    offset = 0
    for call in _calls(_runs(packed)):
        q, k = call[0].fresh, max(len(run.keys) for run in call)
        queries, keys = np.zeros((len(call), q), dtype=np.int64), np.zeros((len(call), k), dtype=np.int64)
        mask = np.zeros((0 if call[0].causal else len(call), 1, q, k), dtype=bool)
        mask[..., :1] = True  # a row that is only padding sees something, so that its softmax is a number
        for row, run in enumerate(call):
            queries[row, : run.fresh] = np.arange(run.start, run.stop)
            keys[row, : len(run.keys)] = run.keys
            if not run.causal:
                sees = len(run.keys) - run.fresh + np.arange(run.fresh)
                mask[row, 0, : run.fresh] = np.arange(k)[None, :] <= sees[:, None]
            places[run.start : run.stop] = offset + row * q + np.arange(run.fresh)
        offset += queries.size
        calls.append(tuple(torch.from_numpy(part) for part in (queries, keys, mask)))
    return {"calls": calls, "places": torch.from_numpy(places), "last": torch.from_numpy(packed.last)}


def model_inputs(packed: Packed, position_ids: Any = None) -> dict[str, Any]:
    """What a model with `install` takes: the tokens' arrays (1, n) and position_ids, and the plan as `tree`.

    position_ids: as `tree_positions` gives them; without, a token's is its depth.
    """
    import torch

    return {
        **{name: torch.from_numpy(values)[None] for name, values in packed.tokens.items()},
        "attention_mask": torch.zeros(1, 1, 0, 0),  # of four dimensions: transformers makes none of its own
        "position_ids": torch.from_numpy(packed.depth)[None] if position_ids is None else position_ids,
        "tree": plan(packed),
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
    """transformers' attention interface. query: (1, heads, n, d); key and value may have fewer heads; tree: see `plan`.

    Out: (1, n, heads, d). Without a tree: sdpa, with its mask.
    """
    if tree is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return output, None
    if query.is_cuda:
        return _by_blocks(query, key, value, scaling, tree).transpose(1, 2), None
    return _by_runs(query[0], key[0], value[0], scaling, tree)[None], None


def _by_runs(query: Any, key: Any, value: Any, scaling: float | None, tree: Mapping[str, Any]) -> Any:
    """(heads, n, d) to (n, heads, d)."""
    import torch

    attention = torch.nn.functional.scaled_dot_product_attention
    grouped = len(query) != len(key)
    outputs = []
    for queries, keys, mask in tree["calls"]:
        q, k, v = (
            states.index_select(1, places.flatten()).unflatten(1, places.shape).transpose(0, 1)
            for states, places in ((query, queries), (key, keys), (value, keys))
        )
        how = {"attn_mask": mask} if len(mask) else {"is_causal": True}
        found = attention(q, k, v, scale=scaling, enable_gqa=grouped, **how)
        outputs.append(found.transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs).index_select(0, tree["places"])


def block_mask(last: Any) -> Any:
    """FlexAttention's mask of a tree whose tokens' subtrees end at `last` (n,): the two comparisons of Packed.mask."""
    from torch.nn.attention.flex_attention import create_block_mask

    def sees(_batch: Any, _head: Any, row: Any, column: Any) -> Any:
        return (column <= row) & (row <= last[column])

    return create_block_mask(sees, None, None, len(last), len(last), device=str(last.device))


@functools.cache
def _flex(compiled: bool) -> Any:
    import torch
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True) if compiled else flex_attention


def _by_blocks(query: Any, key: Any, value: Any, scaling: float | None, tree: dict[str, Any]) -> Any:
    """(1, heads, n, d) to the same. Compiled on CUDA alone: uncompiled it computes every pair."""
    if "blocks" not in tree:  # once a forward pass, for all layers
        tree["blocks"] = block_mask(tree["last"])
    grouped = query.shape[1] != key.shape[1]
    attention = _flex(query.is_cuda)
    return attention(query, key, value, block_mask=tree["blocks"], scale=scaling, enable_gqa=grouped)


def install(model: Any) -> None:
    """Let the model's language layers attend by `attend`; the vision encoder keeps its own attention."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.config.get_text_config()._attn_implementation = NAME
