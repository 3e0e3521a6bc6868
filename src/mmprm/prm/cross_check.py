"""Do two scorers say the same? In: their scores of some candidates. Out: the largest difference, and what differs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mmprm.prm.step_scores import Item, StepScores, dispersion

# The largest difference of a probability that rounding explains, by the weights' dtype: some three times the largest
# that was measured (docs/evaluation.md).
TOLERANCE = {"float32": 1e-3, "float16": 0.01, "bfloat16": 0.05}
_OTHER = {"vllm": "transformers", "server": "transformers", "transformers": "vllm"}


@dataclass(frozen=True)
class Difference:
    """The largest difference of two scorers: at which candidate (an index) and marker, and both values there."""

    size: float = 0.0
    candidate: int = 0
    marker: int = 0
    values: tuple[float, float] = (0.0, 0.0)
    of: str = "P(yes)"


def largest_difference(
    chosen: Sequence[int], scores: Sequence[StepScores], expected: Sequence[StepScores]
) -> Difference:
    """Return the largest difference over the candidates `chosen`; `expected` has the reference's scores of these.

    Concentrations are compared by `dispersion`, on whose scale the tolerance of a probability is meaningful.
    """
    worst = Difference(candidate=chosen[0])
    for index, other in zip(chosen, expected, strict=True):
        found = scores[index]
        kinds = {"P(yes)": (found.probabilities, other.probabilities)}
        spreads = [[dispersion(value) for value in each.concentrations or ()] for each in (found, other)]
        kinds["1 / (1 + concentration)"] = (spreads[0], spreads[1])
        for kind, (ours, theirs) in kinds.items():
            for marker, values in enumerate(zip(ours, theirs, strict=True)):
                size = abs(values[0] - values[1])
                if size > worst.size:
                    worst = Difference(size, index, marker, values, kind)
    return worst


def what_differs(
    worst: Difference, item: Item, found: StepScores, other: StepScores, kind: str, dtype: str, tolerance: float
) -> str:
    """Say where and how two scorers of one candidate differ, and what to set. kind: engine.kind."""
    scorer = "tree packing" if kind == "transformers" else "vLLM"
    steps = len(item[1])
    place = f"after step {worst.marker + 1}" if worst.marker < steps else "after the answer"
    text = (
        f"{scorer} and transformers differ by {worst.size:.2e} on a candidate of problem {item[0].problem_id!r}: "
        f"{worst.of} {place} is {worst.values[0]:.4f} and {worst.values[1]:.4f}; the tolerance for {dtype} weights is "
        f"{tolerance:g}. "
    )
    elsewhere = f"set engine.kind to {_OTHER[kind]}"
    if found.read != other.read and found.read is not None and other.read is not None:
        lengths = f"{found.read.length} and {other.read.length} tokens"
        return f"{text}They did not read the same input ({lengths}): no tolerance mends that; {elsewhere}"
    if dtype != "float32":
        return (
            f"{text}Both read the same tokens, and rounding to {dtype} gave less where it was measured: set "
            f"engine.dtype to float32, or {elsewhere}, or bench.tolerance to {2 * worst.size:.1g} for a large model"
        )
    return f"{text}Both read the same tokens, so one of them computes the model wrongly: {elsewhere}"


def spread(items: Sequence[Item]) -> list[int]:
    """Return all indices in an order that visits each problem once before any twice, and else follows a hash."""

    def digest(index: int) -> str:
        problem, steps, answer = items[index]
        return hashlib.sha256("\x1f".join([problem.problem_id, *steps, answer or ""]).encode()).hexdigest()

    visits: Counter[str] = Counter()
    rounds = {}
    for index in sorted(range(len(items)), key=digest):
        problem_id = items[index][0].problem_id
        rounds[index] = visits[problem_id]
        visits[problem_id] += 1
    return sorted(rounds, key=lambda index: rounds[index])
