"""Step tagging: solutions of other sources, rewritten into steps and an answer. In: YAML values. Out: sections."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mmprm.config.curation import DerivedSource
from mmprm.config.llm import InstructedModel
from mmprm.config.section import Share

TAGGING_PROMPT = "1"  # the version of what the rewriting model is asked, and of how its replies are read


class TaggingModel(InstructedModel):
    """The model that rewrites solutions; a server's key is in MMPRM_TAGGING_API_KEY, never here."""

    @property
    def identity(self) -> str:
        """What its replies depend on."""
        return self.asked(TAGGING_PROMPT)


class TaggedSource(DerivedSource):
    """Solutions, rewritten into steps and an answer. Those that are tagged already pass through, after a check."""

    kind: Literal["tagged"]
    by: Literal["rules", "model"] = Field(
        "rules", description="rules: cut solutions at the steps that they have; model: `model` rewrites them"
    )
    min_steps: int = Field(2, ge=1, description="solutions of fewer are refused")
    max_steps: int = Field(32, ge=1, description="by rules: short neighbours are joined until there are no more")
    max_step_chars: int = Field(2000, ge=20, description="by rules: longer steps are cut at their sentences")
    min_step_chars: int = Field(
        16, ge=1, description="by rules: shorter steps are joined with neighbours; a Chinese character counts as 3"
    )
    answer_from_gold: bool = Field(False, description="by rules: use the problem's answer where a solution states none")
    max_refused_share: Share = Field(0.5, description="stop when more than this share of the solutions is refused")
    model: TaggingModel | None = Field(None, description="by model: the model that rewrites")

    @model_validator(mode="after")
    def _limits_go_together(self) -> TaggedSource:
        if self.min_steps > self.max_steps:
            raise ValueError(f"min_steps: {self.min_steps} is more than max_steps, {self.max_steps}")
        if self.by == "model" and self.model is None:
            raise ValueError("model: by model needs a model")
        return self

    @property
    def asked_model(self) -> TaggingModel | None:
        """The model that is asked; None where rules cut the solutions."""
        return self.model if self.by == "model" else None

    @property
    def identity(self) -> str:
        """What the table depends on beside the solutions."""
        limits = self.model_dump(exclude={"kind", "by", "model", "sources"})
        asked = f"; model={self.model.identity}" if self.by == "model" and self.model else ""
        return f"by={self.by}; sources={self.sources}; {'; '.join(f'{k}={v}' for k, v in limits.items())}{asked}"
