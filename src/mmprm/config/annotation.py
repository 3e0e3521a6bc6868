"""The search for labelled steps, and the plan of its cost. In: YAML values. Out: sections."""

from typing import Any, Literal

from pydantic import Field, model_validator

from mmprm.config.section import Section

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

    @model_validator(mode="before")
    @classmethod
    def _preset_first(cls, values: Any) -> Any:
        preset = values.get("preset") if isinstance(values, dict) else None
        return _PRESETS[preset] | values if isinstance(preset, str) and preset in _PRESETS else values


class Plan(Section):
    """The cost of the annotation, measured before it runs; `annotate` reuses the rollouts."""

    problems: int = Field(24, ge=2, description="seeds that are annotated to estimate the cost of all others")
