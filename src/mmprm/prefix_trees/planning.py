"""Which tokens of a prefix tree attend to which, as a few calls of ordinary attention. In: a Packed. Out: a plan.

In depth-first order the tokens below a segment of the tree follow it directly, and attend to all of it. So a large
segment (image and question) is one call for all of them, without a mask or a copy. The rest of a path is short: the
tokens that a path adds to those before it are one run, which attends to its path; short runs are padded into one call.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmprm.prefix_trees.packing import Packed

_CHUNK = 1024  # queries of a call: the most rows of its mask
_WASTE = 2**15  # pairs that padding may add to a call, beside a quarter of it: about the cost of a call
_LARGE = 2**17  # pairs of a segment and the tokens below it from which on it has a call of its own


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
    def causal(self) -> bool:
        """Whether it attends to itself alone."""
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
    runs = [_Run(segment.start, segment.stop, np.arange(segment.start, segment.stop)) for segment in segments]
    covered = np.zeros(packed.length, dtype=bool)
    for segment in segments:
        covered[segment.start : segment.stop] = True
    n = 0
    for path in sorted(packed.path_indices, key=lambda indices: int(indices[-1])):
        keys = path[~covered[path]]
        fresh = int(np.searchsorted(keys, n))  # the first token of the path that no earlier path has
        if fresh == 0 and len(keys):
            runs.append(_Run(int(keys[0]), int(keys[-1]) + 1, keys))
        else:
            for first in range(fresh, len(keys), _CHUNK):
                stop = min(first + _CHUNK, len(keys))
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
        if calls:
            padded = (len(calls[-1]) + 1) * calls[-1][0].fresh * longest
        if not calls or calls[-1][0].causal != run.causal or padded > exact + max(_WASTE, exact // 4):
            calls.append([])
            pairs, exact, longest = 0, run.fresh * len(run.keys), len(run.keys)
        calls[-1].append(run)
        pairs, width = exact, longest
    return calls


def plan(packed: Packed) -> dict[str, Any]:
    """Return what `attention.attend` needs, as tensors (they move to a device with a batch).

    calls: (queries (runs, q), keys (runs, k), real (runs, q), mask (runs, 1, q, k)) each: `real` is False at padding of
    the queries; the mask has no rows if the runs are causal, as their padding stands after everything that they attend
    to. query_order: (n,), the index of each token among the calls' queries, one call after another. segments: (start,
    stop, end) each: the tokens stop..end attend to all of start..stop as well.
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
