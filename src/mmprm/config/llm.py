"""A model that is given instructions: any but the policy, asked in free text. In: YAML values. Out: a section."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from mmprm.config.section import Address, Section


class InstructedModel(Section):
    """Where the model is, and how it is asked; a server's key is in the environment, never here."""

    kind: Literal["server", "vllm", "transformers"] = Field(
        "server", description="server: any OpenAI-compatible one; vllm, transformers: a local vision-language model"
    )
    url: Address | None = Field(None, description="kind server: such as http://host:8000/v1")
    model: str = Field(min_length=1, description="its name at the server, or the folder of a local model")
    images: bool = Field(True, description="show it the problems' images; false for a model that reads text alone")
    temperature: float = Field(0.7, ge=0, le=2, description="0: greedy")
    top_p: float = Field(0.95, gt=0, le=1, description="sample from the likeliest tokens up to this mass; 1: no cut")
    max_new_tokens: int = Field(4096, ge=1, description="longest reply, in tokens")
    tries: int = Field(3, ge=1, description="of each question, each with a seed of its own")
    max_concurrent: int = Field(64, ge=1, description="calls in flight")
    max_model_len: int = Field(16384, ge=64, description="of a local model: prompt and reply, in tokens")

    @model_validator(mode="after")
    def _server_has_an_address(self) -> InstructedModel:
        if self.kind == "server" and self.url is None:
            raise ValueError("url: kind server needs the address of an OpenAI-compatible server")
        if self.kind != "server" and self.url is not None:
            raise ValueError(f"url: kind {self.kind} runs here and has none")
        return self

    @property
    def shown(self) -> str:
        """Its name in a report, which is published: no folder of this machine."""
        return self.model if self.kind == "server" else Path(self.model).name

    def asked(self, prompt: str) -> str:
        """Return what its replies to a version of a prompt depend on, except a local folder's content.

        Where the model runs and how many calls are in flight is no part of it.
        """
        sampling = f"temperature {self.temperature}, top_p {self.top_p}, {self.max_new_tokens} tokens"
        length = "" if self.kind == "server" else f", of {self.max_model_len} at most"
        return f"{self.model}, prompt {prompt}, {sampling}{length}, images {self.images}"
