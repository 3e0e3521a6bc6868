"""The seed filter: which problems are annotated. In: YAML values. Out: a section."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from mmprm.config.section import Name, Section, Share


class Seeds(Section):
    """Which problems are worth annotating: those that the policy sometimes solves."""

    sources: list[Name] = Field(min_length=1, description="keys of the sources to choose from")
    rollouts: int = Field(32, ge=2, description="rollouts a problem, which is dropped if none or all are right")
    min_pass_rate: Share = Field(0, description="a problem with a lower share of right rollouts is too hard")
    max_pass_rate: Share = Field(1, description="one with a higher share is too easy")
    adaptive: bool = Field(
        False,
        description="stop drawing once it is clear whether a problem is kept; the share of right ones among so few "
        "rollouts is a biased pass rate",
    )
    block: int = Field(
        4, ge=1, description="with adaptive: rollouts drawn at a time; each block reads the prompt (or its cache) again"
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
        description="flag or drop the problems that are solved as well with a uniform picture; null: not tried",
    )
    blank_share: float = Field(
        0.5, gt=0, lt=1, description="share of the pass rate that a blank picture must leave to be as good"
    )
    blank_confidence: float = Field(0.9, gt=0.5, lt=1, description="one-sided confidence in more than blank_share")
    max_seeds: int | None = Field(None, ge=1, description="keep at most this many, chosen by the seed; null: all")

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
                f"min_pass_rate: no number of right rollouts of {self.rollouts}, except none and all, is a share from "
                f"{self.min_pass_rate:g} to {self.max_pass_rate:g}: nothing could be kept"
            )
        return self

    @property
    def drawing(self) -> list[str]:
        """The params that decide, beside `rollouts`, which rollouts are drawn; none where all are."""
        if not self.adaptive and self.blank_image is None:
            return []
        bounds = f"kept from {self.min_pass_rate:g} to {self.max_pass_rate:g}"
        stop = f"blocks of {self.block}, confidence {self.stop_confidence}" if self.adaptive else "all"
        return [f"drawing: {bounds}; {stop}" + ("; blank pictures" if self.blank_image else "")]

    @property
    def comparison(self) -> list[str]:
        """The params of the comparison of problems with and without their picture; none where it is off."""
        if self.blank_image is None:
            return []
        return [f"comparison: {self.blank_image} above {self.blank_share:g} at {self.blank_confidence:g}"]
