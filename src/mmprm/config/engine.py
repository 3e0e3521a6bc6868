"""How models are sampled: the prompt, the sampling of tokens, and the engine. In: YAML values. Out: sections."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mmprm.config.section import Address, Section


class Prompt(Section):
    """What the user's turn holds beside the question."""

    instruction: str = Field("", description="text after the question")


class Sampling(Section):
    """How a model is sampled: the policy, in every stage, and a model that is given instructions."""

    temperature: float = Field(1.0, ge=0, le=2, description="0: greedy; vLLM accepts at most 2")
    top_p: float = Field(0.9, gt=0, le=1, description="sample from the likeliest tokens up to this mass; 1: no cut")
    top_k: int = Field(50, ge=0, description="sample from so many likeliest tokens; 0: no cut")
    max_new_tokens: int = Field(4096, ge=1, description="longest completion, in tokens")


class EngineSettings(Section):
    """The sampling engine. Only max_model_len can change a result (what is too long); nothing else causes a rerun."""

    kind: Literal["server", "vllm", "transformers"] = Field(
        "vllm", description="server: a vLLM server elsewhere; vllm (CPU or CUDA) and transformers: in the job itself"
    )
    url: Address | None = Field(
        None, description="kind server: such as http://host:8000/v1; its key is in MMPRM_API_KEY, never here"
    )
    served_model: str | None = Field(None, min_length=1, description="kind server: name there; null: the only model")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: that of the model's folder"
    )
    max_running: int = Field(256, ge=1, description="sequences in one engine step, or in flight to a server")
    max_model_len: int = Field(8192, ge=64, description="prompt and completion, in tokens")
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1, description="share of a GPU's memory that vLLM takes")
    kv_cache_gib: int = Field(4, ge=1, description="size of the KV cache on the CPU, in GiB")
    tensor_parallel: int = Field(1, ge=1, description="GPUs that a model is spread over, and that a job waits for")
    max_images: int = Field(1, ge=1, description="the most images a problem may have")
    open_problems: int = Field(512, ge=1, description="searches in flight over one engine")

    @model_validator(mode="after")
    def _server_has_an_address(self) -> EngineSettings:
        if self.kind == "server" and self.url is None:
            raise ValueError("url: kind server needs the address of a vLLM server, such as http://host:8000/v1")
        return self
