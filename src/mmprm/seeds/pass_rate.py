"""Is a problem's pass rate between the bounds, and when is that clear? In: counts of rollouts. Out: a reason, or none.

Sampling stops early in two cases. *Certain*: no result of the missing rollouts (and of those without a verdict) could
change the decision. *Bound*: the policy's pass rate lies outside the bounds with a given confidence. The second is a
sequential test by an e-process: a mixture of likelihood ratios against the bound, over the rates beyond it (Robbins
1970; Howard et al. 2021, doi:10.1214/20-AOS1991). If the rate does not lie beyond the bound, the e-process is a
non-negative supermartingale that starts at 1, so that by Ville's inequality it ever reaches 1/a with probability a at
most. Testing after each block therefore costs no confidence, as it would with a test of a fixed size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mmprm.config.annotation import Seeds
from mmprm.rollouts.rollout import Counts

KEPT = "kept"
_PRIOR = 0.5  # both parameters of the mixture's Beta (Jeffreys; Krichevsky and Trofimov 1981)
_HARD, _EASY = ("none_right", "too_hard"), ("all_right", "too_easy")


@dataclass(frozen=True)
class Rule:
    """A problem is kept with some and not all rollouts right, and their share between `low` and `high` (inclusive).

    confidence: of the stop by the bounds, for both together; None switches it off.
    """

    rollouts: int
    low: float = 0.0
    high: float = 1.0
    confidence: float | None = None

    @classmethod
    def of(cls, settings: Seeds) -> Rule:
        """Make the configured rule."""
        confidence = settings.stop_confidence if settings.adaptive else None
        return cls(settings.rollouts, settings.min_pass_rate, settings.max_pass_rate, confidence)

    def stop(self, counts: Counts) -> tuple[str, str] | None:
        """Return (reason, why) where sampling stops after `counts`: all_drawn, certain or bound; else None."""
        left = self.rollouts - counts.n_rollouts - counts.n_undecided
        if left <= 0:
            return self.decide(counts), "all_drawn"
        if reason := self.certain(counts, left):
            return reason, "certain"
        reason = self.outside(counts)
        return (reason, "bound") if reason else None

    def decide(self, counts: Counts) -> str:
        """Decide when all is drawn; undecided, where rollouts without a verdict could change the decision."""
        return self.certain(counts, 0) or "undecided"

    def certain(self, counts: Counts, left: int) -> str | None:
        """Decide where no result of `left` more rollouts, and of those without a verdict, could change it; else None.

        too_hard covers none_right where that is still open; likewise too_easy.
        """
        unknown = left + counts.n_undecided
        total = counts.n_rollouts + unknown
        if not total:
            return None
        least, most = (self._reason(right, total) for right in (counts.n_correct, counts.n_correct + unknown))
        if least == most:  # reasons are in the order of right rollouts: those between are the same
            return least
        return next((side[1] for side in (_HARD, _EASY) if least in side and most in side), None)

    def _reason(self, right: int, total: int) -> str:
        if right == 0:
            return "none_right"
        if right == total:
            return "all_right"
        if right / total < self.low:
            return "too_hard"
        return "too_easy" if right / total > self.high else KEPT

    def outside(self, counts: Counts) -> str | None:
        """Return too_hard or too_easy where the policy's pass rate is so with `confidence`, else None.

        A rollout without a verdict counts against both.
        """
        if self.confidence is None:
            return None
        needed = 2 / (1 - self.confidence)  # each of the two bounds has half of the error probability
        drawn = counts.n_rollouts + counts.n_undecided
        if self.low > 0 and evidence_below(counts.n_correct + counts.n_undecided, drawn, self.low) >= needed:
            return "too_hard"
        if self.high < 1 and evidence_below(drawn - counts.n_correct, drawn, 1 - self.high) >= needed:
            return "too_easy"
        return None


def evidence_below(successes: int, draws: int, bound: float) -> float:
    """Compute the e-value of `successes` of `draws` against a rate of at least `bound` (0 < bound < 1).

    It is the likelihood ratio to a rate of exactly the bound, averaged over Beta(1/2, 1/2) cut off at the bound.
    """
    from scipy.special import betainc, betaln

    failures = draws - successes
    below = float(betainc(_PRIOR + successes, _PRIOR + failures, bound))
    if below == 0.0:  # all successes, and so many that the posterior has nothing left below
        return 0.0
    before = float(betaln(_PRIOR, _PRIOR)) + math.log(float(betainc(_PRIOR, _PRIOR, bound)))
    after = float(betaln(_PRIOR + successes, _PRIOR + failures)) + math.log(below)
    ratio = after - before - successes * math.log(bound) - failures * math.log1p(-bound)
    return math.exp(min(ratio, 700.0))
