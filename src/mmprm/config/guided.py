"""The configuration's strategies of guided decoding. In and out: pydantic models. Part of `config`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mmprm.config.section import Aggregate, Section


class TreeDecoding(Section):
    """A search step by step: `n` draws a step, of which the PRM keeps n / width."""

    kind: Literal["beam", "dvts"] = Field(
        description="beam: the best of all draws; dvts: n / width trees side by side, each keeping the best of its own"
    )
    n: int = Field(16, ge=2, description="draws a step")
    width: int = Field(4, ge=2, description="draws from each state that is kept")
    guide: Aggregate = Field("last", description="which aggregate of the steps so far judges an unfinished solution")
    max_steps: int = Field(64, ge=1, description="longer solutions are given up")
    repeats: bool = Field(
        False, description="may a step say again what an earlier one of its path says, where there are others to keep?"
    )

    @model_validator(mode="after")
    def _trees_are_whole(self) -> TreeDecoding:
        if self.n % self.width:
            raise ValueError(f"n: {self.n} is no multiple of width {self.width}")
        return self


class Adaptive(Section):
    """Whole solutions in batches, until one is reliable: adaptive computation allocation (arXiv 2605.15529)."""

    kind: Literal["adaptive"]
    n: int = Field(16, ge=1, description="solutions a problem, at most")
    batch: int = Field(4, ge=1, description="solutions at a time")
    stop_at: float = Field(0.9, gt=0, le=1, description="P(yes) at the best solution's answer at which it is enough")
    credibility: float = Field(
        0.9,
        gt=0,
        lt=1,
        description="with a variant of counts, in place of P(yes): how much of the Beta distribution at the answer has "
        "to lie above stop_at",
    )
    doubt: float = Field(
        0.5, ge=0, le=1, description="go on before the best solution's first step below this P(yes); 0: always anew"
    )


Strategy = Annotated[TreeDecoding | Adaptive, Field(discriminator="kind")]
