"""What does not pay yet by our measurements: consensus filter, guided decoding. In: YAML values. Out: sections.

Switches of other experiments stand beside the keys that they change: cleaning in `labels`, blank pictures in `seeds`.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mmprm.config.models import FIRST_ERROR_PROMPT, InstructedModel
from mmprm.config.section import Aggregate, Section, Share


class Consensus(InstructedModel):
    """The model that says where a path's first error is; a server's key is in MMPRM_JUDGE_API_KEY, never here."""

    max_unreadable_share: Share = Field(
        0.2, description="stop when more than this share of the paths has no readable reply"
    )

    @property
    def identity(self) -> str:
        """What the kept paths depend on beside the labelled ones."""
        return f"{self.asked(FIRST_ERROR_PROMPT)}, {self.tries} tries"


class TreeDecoding(Section):
    """A search step by step: `n` draws a step, of which the PRM keeps n / width."""

    kind: Literal["beam", "dvts"] = Field(
        description="beam: the best of all draws; dvts: n / width trees side by side, each keeping the best of its own"
    )
    n: int = Field(16, ge=2, description="draws a step")
    width: int = Field(4, ge=2, description="draws from each state that is kept")
    guide: Aggregate = Field("last", description="which aggregate of the steps so far ranks an unfinished solution")
    max_steps: int = Field(64, ge=1, description="longer solutions are given up")
    repeats: bool = Field(False, description="may a step repeat an earlier one of its path where others could be kept")

    @model_validator(mode="after")
    def _width_divides_n(self) -> Self:
        if self.n % self.width:
            raise ValueError(f"n: {self.n} is no multiple of width {self.width}")
        return self


class Adaptive(Section):
    """Whole solutions in batches, until one is reliable: adaptive computation allocation (arXiv 2605.15529)."""

    kind: Literal["adaptive"] = Field(description="whole solutions in batches, until one is reliable")
    n: int = Field(16, ge=1, description="solutions a problem, at most")
    batch: int = Field(4, ge=1, description="solutions at a time")
    stop_at: float = Field(0.9, gt=0, le=1, description="P(yes) at the best solution's answer at which to stop")
    credibility: float = Field(
        0.9,
        gt=0,
        lt=1,
        description="with a variant of counts, in place of P(yes): how much of the Beta distribution at the answer "
        "must lie above stop_at",
    )
    doubt: float = Field(
        0.5,
        ge=0,
        le=1,
        description="continue before the best solution's first step below this P(yes); 0: always from the start",
    )


Strategy = Annotated[TreeDecoding | Adaptive, Field(discriminator="kind")]
