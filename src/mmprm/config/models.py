"""The models that a run asks: prompt, sampling and engine of the policy, instruction models, the judge of answers."""

from pathlib import Path
from typing import Literal, Self

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
    threads: int = Field(8, ge=1, description="CPU threads of a job that samples or scores; at most --cores of them")
    max_images: int = Field(1, ge=1, description="the most images a problem may have")
    open_problems: int = Field(512, ge=1, description="searches in flight over one engine")

    @model_validator(mode="after")
    def _server_has_an_address(self) -> Self:
        if self.kind == "server" and self.url is None:
            raise ValueError("url: kind server needs the address of a vLLM server, such as http://host:8000/v1")
        return self


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
    def _server_has_an_address(self) -> Self:
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


FIRST_ERROR_PROMPT = "1"  # the version of llm.first_error: what is asked, and how replies are read
JUDGE_PROMPT = "1"  # the version of what grading.judge is asked, and of how its replies are read


class JudgeSettings(Section):
    """A model that is asked whether an answer is right; its key is in MMPRM_JUDGE_API_KEY, never here."""

    url: Address = Field(description="of an OpenAI-compatible server, such as http://host:8000/v1")
    model: str = Field(min_length=1, description="its name there; another model grades anew")
    timeout: float = Field(60, gt=0, description="seconds without a reply after which a try has failed")
    max_concurrent: int = Field(8, ge=1, description="questions in flight")
    tries: int = Field(5, ge=1, description="after the last one the answer is undecided, until the next run")

    @property
    def identity(self) -> str:
        """What its verdicts depend on."""
        return f"{self.model}, prompt {JUDGE_PROMPT}"


class GradingSettings(Section):
    """How answers are compared. Only the judge can change a result: undecided answers are tried again."""

    workers: int = Field(2, ge=1, description="processes that compare formulas")
    timeout: float = Field(5.0, gt=0, description="seconds for a comparison, which is tried twice")
    judge: JudgeSettings | None = Field(None, description="grades what rules and math-verify cannot read; null: none")
