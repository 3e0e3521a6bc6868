"""What a PRM says of one solution at its markers. In: logits at the markers. Out: StepScores, and how sure they are.

A PRM that was trained on counts (`label: counts`; BetaPRM, arXiv 2605.15529) believes of a state that its share of
right rollouts is distributed as Beta(p κ, (1 - p) κ): p is P(yes), the mean, and κ the concentration. Others give p.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

# Parameters of a Beta distribution are not smaller, where P(yes) has rounded to 0 or 1: in the loss as in what is read.
SMALLEST = 1e-6


@dataclass(frozen=True)
class StepScores:
    """P(yes) at each marker, in order, and the concentrations there; None of a PRM that was not trained on counts.

    Without any probability where the solution is too long for the model.
    """

    probabilities: list[float] = field(default_factory=list)
    concentrations: list[float] | None = None

    @classmethod
    def of_logits(cls, logits: Any) -> StepScores:
        """From the logits of (No, Yes) at the markers, or (No, Yes, `<prm>`): (markers, 2) or (markers, 3)."""
        logits = logits.double()
        probabilities = logits[:, :2].softmax(dim=-1)[:, 1].tolist()
        return cls(probabilities, concentration(logits).tolist() if logits.shape[1] > 2 else None)

    def columns(self, counted: bool) -> dict[str, list[float]]:
        """The columns of a table: the probabilities, and the concentrations where the PRM was trained on counts."""
        columns = {"probabilities": self.probabilities}
        return columns | {"concentrations": self.concentrations or []} if counted else columns

    def at(self, places: Sequence[int]) -> StepScores:
        """Those of some of the markers."""
        kept = None if self.concentrations is None else [self.concentrations[place] for place in places]
        return StepScores([self.probabilities[place] for place in places], kept)


def concentration(logits: Any) -> Any:
    """How many rollouts a prediction is worth, from the logits of (No, Yes, `<prm>`) at a marker: (..., 3) to (...).

    κ = softplus(logsumexp(No, Yes) - `<prm>`) + 0.001: by how much Yes and No together stand above the marker's own
    logit. It does not change when all logits are shifted, and needs no head beside the language model's.
    """
    import torch

    return torch.nn.functional.softplus(logits[..., :2].logsumexp(dim=-1) - logits[..., 2]) + 1e-3


def dispersion(concentration: float) -> float:
    """1 / (1 + κ), in (0, 1): the correlation between two rollouts of a state. The variance is p (1 - p) times this.

    It moves with the logits no faster than a probability does, and so is compared where concentrations are.
    """
    return 1 / (1 + concentration)


def share_above(threshold: float, p: float, concentration: float) -> float:
    """How much of Beta(p κ, (1 - p) κ) lies above a threshold: 1 - I_threshold(p κ, (1 - p) κ), I the incomplete beta.

    It is at least c just where the lower bound of the one-sided c-credible interval, the quantile 1 - c, is at least
    the threshold. It rises with p. A large κ leaves it at 1 for p above the threshold and at 0 below; for κ to 0, where
    a state is solved always or never, it goes to p.
    """
    from scipy.special import betaincc

    a, b = max(p * concentration, SMALLEST), max((1 - p) * concentration, SMALLEST)
    return float(betaincc(a, b, threshold))
