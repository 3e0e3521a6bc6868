"""Which problems are annotated (the seeds), the search for labelled steps, and the plan of its cost."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from mmprm.config.section import NO_RESULT, Name, Section, Share


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
        None, description="flag or drop the problems that are solved as well with a uniform picture; null: not tried"
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
    def _something_can_be_kept(self) -> Self:
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


_PRESETS: dict[str, dict[str, Any]] = {
    "mm_prm": {},  # the defaults: arXiv 2505.13427, section 3.2
    "omegaprm": {"k": 8, "max_searches": 100, "length_scale": 500},  # arXiv 2406.06592, section 4
}


class Annotation(Section):
    """The OmegaPRM tree search (arXiv 2406.06592). A key beside `preset` overrides what the preset sets."""

    preset: Literal["mm_prm", "omegaprm"] = Field("mm_prm", exclude=True, description="whose settings are the defaults")
    k: int = Field(16, ge=1, description="rollouts a state")
    max_searches: int = Field(200, ge=1, description="searches for an error, a problem")
    max_rollouts: int = Field(1000, ge=1, description="rollouts a problem; never exceeded")
    alpha: float = Field(0.5, gt=0, le=1, description="base of Q = alpha^(1 - MC) * beta^(length / length_scale)")
    beta: float = Field(0.9, gt=0, le=1, description="base of the length penalty in Q")
    length_scale: int = Field(2000, ge=1, description="L, the unit of length in Q, in words")
    c_puct: float = Field(0.125, ge=0, description="weight of exploration")
    max_steps: int = Field(64, ge=1, description="rollouts of more steps are not searched")
    dense_solutions: int = Field(
        0,
        ge=0,
        description="solutions a problem, right or wrong, of which every state is probed before the first search: "
        "dense labels, at k rollouts a step out of max_rollouts",
        json_schema_extra=NO_RESULT,  # `dense` is a param of its own
    )

    @property
    def dense(self) -> list[str]:
        """The params of dense labels; none where there are none, so that a run from before they existed stays."""
        return [f"annotation.dense_solutions={self.dense_solutions}"] if self.dense_solutions else []

    @model_validator(mode="before")
    @classmethod
    def _preset_first(cls, values: Any) -> Any:
        preset = values.get("preset") if isinstance(values, dict) else None
        return _PRESETS[preset] | values if isinstance(preset, str) and preset in _PRESETS else values


class Plan(Section):
    """The cost of the annotation, measured before it runs; `annotate` reuses the rollouts."""

    problems: int = Field(24, ge=2, description="seeds that are annotated to estimate the cost of all others")
