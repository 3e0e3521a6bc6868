"""What a PRM predicts at the markers of one solution. In: logits at the markers. Out: StepScores.

A PRM that was trained on counts (`label: counts`; BetaPRM, arXiv 2605.15529) predicts that a state's share of right
rollouts is distributed as Beta(p κ, (1 - p) κ): p is P(yes), the mean, and κ the concentration. Others predict p alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from mmprm.data.problem import Problem
from mmprm.training.losses import SMALLEST, concentration

Item = tuple[Problem, tuple[str, ...], str | None]  # a solution to score: problem, steps, answer


@dataclass(frozen=True)
class StepScores:
    """P(yes) at each marker, in order, and the concentrations there (None if the PRM was not trained on counts).

    Both are empty if the solution is too long for the model.
    """

    probabilities: list[float] = field(default_factory=list)
    concentrations: list[float] | None = None

    @classmethod
    def of_logits(cls, logits: Any) -> StepScores:
        """Compute them from the logits of (No, Yes) or (No, Yes, `<prm>`): (markers, 2) or (markers, 3)."""
        logits = logits.double()
        probabilities = logits[:, :2].softmax(dim=-1)[:, 1].tolist()
        return cls(probabilities, concentration(logits).tolist() if logits.shape[1] > 2 else None)

    def columns(self, counted: bool) -> dict[str, list[float]]:
        """Return the columns of a score table, the concentrations only if the PRM was trained on counts."""
        columns = {"probabilities": self.probabilities}
        return columns | {"concentrations": self.concentrations or []} if counted else columns

    def at(self, markers: Sequence[int]) -> StepScores:
        """Return the scores of some of the markers."""
        concentrations = self.concentrations and [self.concentrations[marker] for marker in markers]
        return StepScores([self.probabilities[marker] for marker in markers], concentrations)


class Scorer(Protocol):
    """A PRM that is loaded. `prompt_tokens` counts the tokens that it has read."""

    prompt_tokens: int

    def score(self, items: Sequence[Item]) -> list[StepScores]:
        """Score each item, in order; an item that is too long for the model gets no probabilities."""

    def close(self) -> None:
        """Free the model."""


def dispersion(concentration: float) -> float:
    """Return 1 / (1 + κ), in (0, 1): the correlation between two rollouts of a state, of variance p (1 - p) times this.

    It moves with the logits no faster than a probability does, so concentrations are compared by it.
    """
    return 1 / (1 + concentration)


def share_above(threshold: float, p: float, concentration: float) -> float:
    """Return the mass of Beta(p κ, (1 - p) κ) above a threshold: 1 - I_threshold(p κ, (1 - p) κ), incomplete beta.

    It is at least c exactly if the lower bound of the one-sided c-credible interval, the quantile 1 - c, is at least
    the threshold. It rises with p. For large κ it is 1 if p is above the threshold and 0 below; for κ to 0, where a
    state is solved always or never, it tends to p.
    """
    from scipy.special import betaincc

    a, b = max(p * concentration, SMALLEST), max((1 - p) * concentration, SMALLEST)
    return float(betaincc(a, b, threshold))
