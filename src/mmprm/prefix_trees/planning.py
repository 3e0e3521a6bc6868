"""Which tokens of a prefix tree attend to which, as a few calls of ordinary attention. In: a Packed. Out: a plan.

In depth-first order the tokens below a segment of the tree stand right behind it and see all of it. So a large segment
(image and question) is one call for all of them, without a mask or a copy. What is left of a path is short: the tokens
that a path adds to those before it are one run, which attends to its path; short runs are padded into one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmprm.prefix_trees.packing import Packed

_CHUNK = 1024  # queries of a call: its mask has that many rows at most
_WASTE = 2**15  # pairs that padding may add to a call, beside a quarter of it: a call costs about as much
_LARGE = 2**17  # pairs of a segment and the tokens below it from which on it has a call of its own


@dataclass(frozen=True)
class _Segment:
    """Tokens start..stop, one below the other; the tokens stop..end are those below them."""

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
        """Does it see itself alone?"""
        return self.fresh == len(self.keys)


def _large(packed: Packed) -> list[_Segment]:
    """The segments worth a call of their own, from the root down; above each stand only such ones."""
    last = packed.last
    starts = np.flatnonzero(np.diff(last, prepend=-1))  # along a segment the subtree ends at the same token
    leaves = np.cumsum(last == np.arange(packed.length))
    found: list[_Segment] = []
    above: list[_Segment] = []  # those that the walk is below
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), packed.length], strict=True):
        while above and above[-1].end <= start:
            above.pop()
        segment = _Segment(start, stop, int(last[start]) + 1)
        below = segment.end - stop
        runs = leaves[segment.end - 1] - leaves[stop - 1]
        # Without it each run below but the first would copy the keys; with it each token below merges two outputs.
        worth = (stop - start) * below >= _LARGE and (runs - 1) * (stop - start) >= below
        if worth and packed.depth[start] == sum(one.stop - one.start for one in above):
            found.append(segment)
            above.append(segment)
    return found


def _runs(packed: Packed, segments: Sequence[_Segment]) -> list[_Run]:
    runs = [_Run(one.start, one.stop, np.arange(one.start, one.stop)) for one in segments]
    covered = np.zeros(packed.length, dtype=bool)
    for one in segments:
        covered[one.start : one.stop] = True
    n = 0
    for path in sorted(packed.places, key=lambda place: int(place[-1])):
        place = path[~covered[path]]
        fresh = int(np.searchsorted(place, n))  # the first token of the path that no path before has
        if fresh == 0 and len(place):
            runs.append(_Run(int(place[0]), int(place[-1]) + 1, place))
        else:
            for first in range(fresh, len(place), _CHUNK):
                last = min(first + _CHUNK, len(place))
                runs.append(_Run(int(place[first]), int(place[last - 1]) + 1, place[:last]))
        n = max([n, *(place[-1:] + 1)])
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
    """What `attention.attend` needs, as tensors (they travel to a device with a batch).

    calls: (queries (runs, q), keys (runs, k), real (runs, q), mask (runs, 1, q, k)) each: `real` is False for what pads
    the queries; the mask is without a row where the runs are causal, for what pads them stands behind all that they
    see. places: (n,), where each token stands among the calls' queries, one call after another. segments: (start, stop,
    end) each: the tokens stop..end attend to all of start..stop as well.
    """
    import torch

    segments = _large(packed)
    calls = []
    places = np.zeros(packed.length, dtype=np.int64)
    offset = 0
    for call in _calls(_runs(packed, segments)):
        q, k = call[0].fresh, max(len(run.keys) for run in call)
        queries, keys = np.zeros((len(call), q), dtype=np.int64), np.zeros((len(call), k), dtype=np.int64)
        real = np.zeros((len(call), q), dtype=bool)
        mask = np.zeros((0 if call[0].causal else len(call), 1, q, k), dtype=bool)
        mask[..., :1] = True  # a row that is only padding sees something, so that its softmax is a number
        for row, run in enumerate(call):
            queries[row, : run.fresh] = np.arange(run.start, run.stop)
            keys[row, : len(run.keys)] = run.keys
            real[row, : run.fresh] = True
            if not run.causal:
                sees = len(run.keys) - run.fresh + np.arange(run.fresh)
                mask[row, 0, : run.fresh] = np.arange(k)[None, :] <= sees[:, None]
            places[run.start : run.stop] = offset + row * q + np.arange(run.fresh)
        offset += queries.size
        calls.append(tuple(torch.from_numpy(part) for part in (queries, keys, real, mask)))
    return {
        "calls": calls,
        "places": torch.from_numpy(places),
        "segments": [(one.start, one.stop, one.end) for one in segments],
    }
