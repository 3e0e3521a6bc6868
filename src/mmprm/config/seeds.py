"""The configuration of the seed filter. In: a mapping from YAML. Out: a section of the configuration.

Part of `config`, which is the one place that loads it.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from mmprm.config.section import Name, Section, Share


class Seeds(Section):
    """Which problems are worth annotating: those that the policy sometimes solves."""

    sources: list[Name] = Field(min_length=1)
    rollouts: int = Field(32, ge=2, description="rollouts a problem; 0 or all right drops it")
    min_pass_rate: Share = Field(0, description="a problem of which a lower share of the rollouts is right is too hard")
    max_pass_rate: Share = Field(1, description="one of which a higher share is right is too easy")
    adaptive: bool = Field(
        False,
        description="draw no more of a problem once it is clear whether it is kept; the share of right ones among so "
        "few is a biased pass rate",
    )
    block: int = Field(
        4, ge=1, description="with adaptive: rollouts drawn at a time; each block reads the prompt (or its cache) anew"
    )
    stop_confidence: float | None = Field(
        0.95,
        gt=0.5,
        lt=1,
        description="with adaptive and a bound inside 0 to 1: stop where the pass rate lies outside the bounds with "
        "this confidence; null: only where no rollout still to come could change the decision",
    )
    blank_image: Literal["flag", "drop"] | None = Field(
        None,
        description="flag or drop the problems that are solved as well with a uniform picture; null (off): not tried",
    )
    blank_share: float = Field(
        0.5, gt=0, lt=1, description="of the pass rate: what a blank picture must leave of it to be as good"
    )
    blank_confidence: float = Field(0.9, gt=0.5, lt=1, description="one-sided, that it leaves more than blank_share")
    max_seeds: int | None = Field(None, ge=1, description="keep at most this many, chosen by the seed")

    @model_validator(mode="before")
    @classmethod
    def _off_is_null(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("blank_image") in (False, "off"):  # YAML reads `off` as false
            return values | {"blank_image": None}
        return values

    @model_validator(mode="after")
    def _something_can_be_kept(self) -> Seeds:
        rates = [right / self.rollouts for right in range(1, self.rollouts)]
        if not any(self.min_pass_rate <= rate <= self.max_pass_rate for rate in rates):
            raise ValueError(
                f"min_pass_rate: no number of right rollouts of {self.rollouts}, but for none and all, is a share from "
                f"{self.min_pass_rate:g} to {self.max_pass_rate:g}: nothing could be kept"
            )
        return self

    @property
    def drawing(self) -> list[str]:
        """What decides, beside `rollouts`, which rollouts are drawn, as params of a rule; none where all are."""
        if not self.adaptive and self.blank_image is None:
            return []
        bounds = f"kept from {self.min_pass_rate:g} to {self.max_pass_rate:g}"
        stop = f"blocks of {self.block}, confidence {self.stop_confidence}" if self.adaptive else "all"
        return [f"drawing: {bounds}; {stop}" + ("; blank pictures" if self.blank_image else "")]

    @property
    def comparison(self) -> list[str]:
        """How problems are compared with and without their picture, as params of a rule; none where they are not."""
        if self.blank_image is None:
            return []
        return [f"comparison: {self.blank_image} above {self.blank_share:g} at {self.blank_confidence:g}"]
