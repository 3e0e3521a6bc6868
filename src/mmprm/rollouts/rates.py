"""Rates of a sampling stage for its progress line. In: counts so far. Out: text."""

from __future__ import annotations

from mmprm.engine.base import EngineStats
from mmprm.runtime.progress import duration


def rates(seconds: float, most_rollouts: int, rollouts: int, tokens: int, replayed: int, stats: EngineStats) -> str:
    """Describe the rates of `rollouts` and `tokens` sampled in `seconds`; those replayed from the journal do not count.

    most_rollouts: the most that all problems together can take, which bounds the time left. The problems done would
    not: they are worked on side by side, so that for a long time none of them may end.
    """
    seconds = max(seconds, 1e-6)
    parts = [f"{rollouts / seconds:.0f} rollouts/s", f"{tokens / seconds:.0f} tokens/s"]
    if stats.mean_batch is not None:
        parts.append(f"mean batch {stats.mean_batch:.0f}")
    if stats.cached_share is not None:
        parts.append(f"{stats.cached_share:.0%} of prompt tokens cached")
    left = most_rollouts - rollouts - replayed
    if rollouts and left > 0:  # a search that a PRM guides may draw more than its number of solutions
        parts.append(f"at most {duration(left * seconds / rollouts)} left")
    return ", ".join(parts)
