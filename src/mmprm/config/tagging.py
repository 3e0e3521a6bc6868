"""The configuration of step tagging: solutions of other sources, rewritten into steps and an answer.

Part of `config`, which is the one place that loads it. In and out: pydantic models.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mmprm.config.derived import DerivedSource
from mmprm.config.section import Address, Section, Share

TAGGING_PROMPT = "1"  # the version of what the rewriting model is asked, and of how its replies are read


class TaggingModel(Section):
    """The model that rewrites solutions; a server's key is in MMPRM_TAGGING_API_KEY, never here."""

    kind: Literal["server", "vllm", "transformers"] = Field(
        "server", description="server: any OpenAI-compatible one; vllm, transformers: a local vision-language model"
    )
    url: Address | None = Field(None, description="kind server: such as http://host:8000/v1")
    model: str = Field(min_length=1, description="its name at the server, or the folder of a local model")
    images: bool = Field(True, description="show it the problems' images; false for a model that reads text alone")
    temperature: float = Field(0.7, ge=0, le=2)
    top_p: float = Field(0.95, gt=0, le=1)
    max_new_tokens: int = Field(4096, ge=1, description="of a reply")
    tries: int = Field(3, ge=1, description="of each pass, each with a seed of its own")
    max_concurrent: int = Field(64, ge=1, description="calls on their way at a time")
    max_model_len: int = Field(16384, ge=64, description="of a local model: prompt and reply, in tokens")

    @model_validator(mode="after")
    def _server_has_an_address(self) -> TaggingModel:
        if self.kind == "server" and self.url is None:
            raise ValueError("url: kind server needs the address of an OpenAI-compatible server")
        if self.kind != "server" and self.url is not None:
            raise ValueError(f"url: kind {self.kind} runs here and has none")
        return self

    @property
    def identity(self) -> str:
        """What its replies depend on, but for a local folder's content: not where it runs, nor how many at a time."""
        sampling = f"temperature {self.temperature}, top_p {self.top_p}, {self.max_new_tokens} tokens"
        room = "" if self.kind == "server" else f", of {self.max_model_len} at most"
        return f"{self.model}, prompt {TAGGING_PROMPT}, {sampling}{room}, images {self.images}"


class TaggedSource(DerivedSource):
    """Solutions, rewritten into steps and an answer. Those that are tagged already pass through, after a check."""

    kind: Literal["tagged"]
    by: Literal["rules", "model"] = Field(
        "rules", description="rules: cut solutions that are stepped already; model: have `model` rewrite them"
    )
    min_steps: int = Field(2, ge=1, description="solutions of fewer are refused")
    max_steps: int = Field(32, ge=1, description="by rules: short neighbours are joined until there are no more")
    max_step_chars: int = Field(2000, ge=20, description="by rules: longer pieces are cut at their sentences")
    min_step_chars: int = Field(
        16, ge=1, description="by rules: shorter pieces go with their neighbours; a Chinese character counts as 3"
    )
    answer_from_gold: bool = Field(
        False, description="by rules: a solution that states no final answer takes the problem's; else it is refused"
    )
    max_refused_share: Share = Field(0.5, description="stop when more than this share of the solutions is refused")
    model: TaggingModel | None = Field(None, description="by model: which")

    @model_validator(mode="after")
    def _limits_go_together(self) -> TaggedSource:
        if self.min_steps > self.max_steps:
            raise ValueError(f"min_steps: {self.min_steps} is more than max_steps, {self.max_steps}")
        if self.by == "model" and self.model is None:
            raise ValueError("model: by model needs a model")
        return self

    @property
    def identity(self) -> str:
        """What the table depends on beside the solutions."""
        limits = self.model_dump(exclude={"kind", "by", "model", "sources"})
        asked = f"; model={self.model.identity}" if self.by == "model" and self.model else ""
        return f"by={self.by}; sources={self.sources}; {'; '.join(f'{k}={v}' for k, v in limits.items())}{asked}"
