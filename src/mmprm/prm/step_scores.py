"""What a PRM says at the markers of a solution, and of which tokens it is read. In: logits. Out: StepScores."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mmprm.data.problem import Problem
from mmprm.model import folders
from mmprm.model.step_text import MARKER, NO, YES, control_ids
from mmprm.runtime.errors import UserError
from mmprm.training.losses import SMALLEST, concentration

Item = tuple[Problem, tuple[str, ...], str | None]  # a solution to score: problem, steps, answer


@dataclass(frozen=True)
class Input:
    """What a model was given to read: how many tokens, and a hash of their ids, to compare two scorers by."""

    length: int
    digest: str

    @classmethod
    def of(cls, ids: Any) -> Input:
        """Hash token ids, a sequence or an array (length,)."""
        ids = np.asarray(ids, dtype=np.int64)
        return cls(len(ids), hashlib.sha256(ids.tobytes()).hexdigest()[:16])


@dataclass(frozen=True)
class StepScores:
    """P(yes) at each marker, in order, and the concentrations there (None if the PRM was not trained on counts).

    A PRM that was trained on counts (`label: counts`; BetaPRM, arXiv 2605.15529) predicts that a state's share of right
    rollouts is distributed as Beta(p κ, (1 - p) κ): p is P(yes), the mean, and κ the concentration. Both are empty if
    the solution is too long for the model.
    """

    probabilities: list[float] = field(default_factory=list)
    concentrations: list[float] | None = None
    read: Input | None = field(default=None, compare=False)  # the tokens that were read

    @classmethod
    def of_logits(cls, logits: Any, read: Input | None = None) -> StepScores:
        """Compute them from the logits of (No, Yes) or (No, Yes, `<prm>`): (markers, 2) or (markers, 3)."""
        logits = logits.double()
        probabilities = logits[:, :2].softmax(dim=-1)[:, 1].tolist()
        return cls(probabilities, concentration(logits).tolist() if logits.shape[1] > 2 else None, read)

    @classmethod
    def of_rows(cls, rows: Sequence[Sequence[float]]) -> StepScores:
        """Compute the same from lists of logits, without torch."""
        probabilities = [(1 + math.tanh((yes - no) / 2)) / 2 for no, yes, *_ in rows]
        if not rows or len(rows[0]) < 3:
            return cls(probabilities)
        excess = [float(np.logaddexp(no, yes)) - marker for no, yes, marker in rows]
        return cls(probabilities, [float(np.logaddexp(0, value)) + 1e-3 for value in excess])

    def columns(self, counted: bool) -> dict[str, list[float]]:
        """Return the columns of a score table, the concentrations only if the PRM was trained on counts."""
        columns = {"probabilities": self.probabilities}
        return columns | {"concentrations": self.concentrations or []} if counted else columns

    def at(self, markers: Sequence[int], read: Input | None = None) -> StepScores:
        """Return the scores of some of the markers; read: the tokens that these were read in."""
        concentrations = self.concentrations and [self.concentrations[marker] for marker in markers]
        return StepScores([self.probabilities[marker] for marker in markers], concentrations, read)


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


@dataclass(frozen=True)
class ScoredTokens:
    """The token whose place is scored, and those whose logits are read there: see StepScores.of_logits."""

    marker: int
    read: list[int]

    def pieces(self, tokenizer: Any) -> list[str]:
        """Return the vocabulary's own names of `read`, from which vLLM looks their ids up.

        Not the texts Yes and No: a SentencePiece tokenizer encodes "Yes" as the piece "▁Yes", and has another piece
        "Yes". Raises UserError unless the names lead back to the ids.
        """
        pieces: list[str] = tokenizer.convert_ids_to_tokens(self.read)
        if tokenizer.convert_tokens_to_ids(pieces) != self.read:
            raise UserError(
                f"the tokenizer {tokenizer.name_or_path!r} has several tokens of the name {pieces}, so that vLLM "
                "cannot be told which ones to read: set engine.kind to transformers"
            )
        return pieces


def scored_tokens(folder: Path, tokenizer: Any) -> ScoredTokens:
    """Return the tokens of a PRM, by the same derivation as in training (`control_ids`)."""
    return tokens_of(tokenizer, folders.trained_on_counts(folder))


def tokens_of(tokenizer: Any, counted: bool) -> ScoredTokens:
    """Return No and Yes; for a PRM that was trained on counts the marker's own logit too."""
    ids = control_ids(tokenizer)
    return ScoredTokens(ids[MARKER], [ids[NO], ids[YES], *([ids[MARKER]] if counted else [])])
