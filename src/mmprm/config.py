"""The configuration: each option's type, default, range and meaning, once. In: a mapping from YAML. Out: `Config`.

`load` raises UserError with the key, the value and what is allowed, before any job starts. Rules pass whole values to
jobs through the resolved file `results/<run>/config.json`; nothing reads the YAML twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, Field, ValidationError, field_validator, model_validator

from mmprm.config_sources import MiniSource, Section, Source, TableSource, share_problems
from mmprm.config_steps import StepTest, check_step_tests
from mmprm.errors import UserError


def _plain_address(url: str) -> str:
    # A pattern of the field would not do: its error quotes the value, which may hold a password.
    if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", url):
        raise ValueError("not an address such as http://host:8000/v1 (http or https; no user, password or query)")
    return url


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Address = Annotated[str, AfterValidator(_plain_address)]
Aggregate = Literal["min", "max", "average", "last", "product", "sum_log_pr", "sum_log_odds", "mean_odds"]


class Intake(Section):
    """What is refused on the way in."""

    max_refused_share: Share = Field(0.05, description="stop when more than this share of a source's rows is refused")
    max_image_pixels: int = Field(
        25_000_000, ge=1, le=178_956_970, description="larger images are refused undecoded; at most Pillow's own limit"
    )


class Prompt(Section):
    """What the user's turn says beside the question."""

    instruction: str = Field("", description="text after the question")


class Lora(Section):
    """Low-rank adapters in the language model's matrices; they are merged into the weights on export."""

    rank: int = Field(16, ge=1)
    alpha: float = Field(32, gt=0, description="an adapter's output is scaled by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1)


class Training(Section):
    """One training run, of the policy or of a PRM."""

    learning_rate: float = Field(gt=0)
    batch_size: int = Field(128, ge=1, description="sequences an update, over all devices")
    batch_labels: int | None = Field(
        None, ge=1, description="labelled steps (of a PRM) or tokens (of the policy) an update, in place of batch_size"
    )
    micro_batch_size: int = Field(8, ge=1, description="sequences a forward pass on one device")
    epochs: float = Field(1, gt=0)
    max_steps: int | None = Field(None, ge=1, description="stop after this many updates")
    weight_decay: float = Field(0.05, ge=0)
    warmup_share: Share = 0.03
    max_grad_norm: float = Field(1.0, gt=0)
    max_length: int = Field(
        8192, ge=16, description="tokens; longer solutions are cut at a step, longer prompts refused"
    )
    freeze_vision: bool = True
    precision: Literal["fp32", "bf16"] = "bf16"
    gradient_checkpointing: bool = False
    save_every: int = Field(200, ge=1, description="updates between checkpoints")
    deepspeed: Literal["zero1", "zero2", "zero3"] | None = Field(
        None, description="launch through torchrun + DeepSpeed"
    )
    lora: Lora | None = Field(None, description="train adapters alone; null trains all weights")
    keep_best: bool = Field(
        False, description="of a PRM: export the checkpoint with the lowest loss on held-out problems, not the last"
    )
    report_to: list[str] = Field([], description="trackers as Trainer names them, such as tensorboard")

    @model_validator(mode="after")
    def _adapters_are_whole(self) -> Training:
        if self.lora and self.deepspeed == "zero3":
            raise ValueError("lora: adapters cannot be merged from ZeRO-3's shards; set deepspeed to zero2 or zero1")
        return self


class Policy(Section):
    """Supervised fine-tuning of the base model on step-tagged solutions."""

    base: Path = Field(description="a local Hugging Face model folder")
    sources: list[Name] = Field(min_length=1)
    training: Training = Training(learning_rate=4e-5)


class Sampling(Section):
    """How the policy is sampled, in every stage."""

    temperature: float = Field(1.0, ge=0, le=2, description="0: greedy; vLLM takes no more than 2")
    top_p: float = Field(0.9, gt=0, le=1)
    top_k: int = Field(50, ge=0, description="0: no cut")
    max_new_tokens: int = Field(4096, ge=1)


class Seeds(Section):
    """Which problems are worth annotating: those that the policy sometimes solves."""

    sources: list[Name] = Field(min_length=1)
    rollouts: int = Field(32, ge=2, description="rollouts a problem; 0 or all right drops it")
    max_seeds: int | None = Field(None, ge=1, description="keep at most this many, chosen by the seed")


_PRESETS: dict[str, dict[str, Any]] = {
    "mm_prm": {},  # the defaults: arXiv 2505.13427, section 3.2
    "omegaprm": {"k": 8, "max_searches": 100, "length_scale": 500},  # arXiv 2406.06592, section 4
}


class Annotation(Section):
    """The OmegaPRM search (specification, section 2). What a preset sets, a key of its own beside it overrides."""

    preset: Literal["mm_prm", "omegaprm"] = Field("mm_prm", exclude=True, description="whose settings to start from")
    k: int = Field(16, ge=1, description="rollouts a state")
    max_searches: int = Field(200, ge=1)
    max_rollouts: int = Field(1000, ge=1, description="the budget of a problem, never overshot")
    alpha: float = Field(0.5, gt=0, le=1)
    beta: float = Field(0.9, gt=0, le=1)
    length_scale: int = Field(2000, ge=1, description="L, in words")
    c_puct: float = Field(0.125, ge=0)
    max_steps: int = Field(64, ge=1, description="longer rollouts are not searched")

    @model_validator(mode="before")
    @classmethod
    def _preset_first(cls, values: Any) -> Any:
        preset = values.get("preset") if isinstance(values, dict) else None
        return _PRESETS[preset] | values if isinstance(preset, str) and preset in _PRESETS else values


class Plan(Section):
    """What the annotation will cost, measured before it runs; `annotate` does not pay for it again."""

    problems: int = Field(24, ge=2, description="seeds that are annotated to see what the others will take")


class Labels(Section):
    """From trees to labelled step paths."""

    dev_share: Share = Field(0.1, description="share of the problems held out for development")
    max_paths_per_problem: int | None = Field(None, ge=1)
    max_positive_ratio: float | None = Field(
        1.0, gt=0, description="positive paths a problem for each negative one; null keeps all"
    )
    max_outcome_ratio: float = Field(
        1.0, ge=0, description="wrong whole solutions, labelled at the answer alone, for each positive path"
    )


class Variant(Section):
    """A named PRM recipe; what is not given is taken from `prm.training`."""

    label: Literal["soft", "hard", "counts"] = Field(
        "soft", description="soft: MC values; hard: MC > 0; counts: Beta-Binomial, with a predicted concentration"
    )
    learning_rate: float | None = Field(None, gt=0)
    epochs: float | None = Field(None, gt=0)
    max_paths_per_problem: int | None = Field(None, ge=1)


class Prm(Section):
    """PRM training, from the policy's weights."""

    training: Training = Training(learning_rate=4e-6, batch_size=512)
    marker_init: str = Field("?", description="text whose mean embedding the <prm> token starts from")
    packing: Literal["paths", "trees"] = Field(
        "paths",
        description="trees: a problem's paths are one sequence, each shared token once, and whole problems a batch",
    )
    variants: dict[Name, Variant] = Field(default_factory=lambda: {"soft": Variant()}, min_length=1)


class Benchmark(Section):
    """A set of problems on which candidates are ranked."""

    source: Name
    domain: Literal["in_domain", "out_of_domain", "development"] = "in_domain"


class Bench(Section):
    """Best-of-N."""

    n: int = Field(16, ge=1, description="candidates a problem")
    primary: Aggregate = Field("mean_odds", description="fixed beforehand, chosen on development problems only")
    confidence: float = Field(0.95, gt=0, lt=1)
    resamples: int = Field(10_000, ge=100, description="of the bootstrap over problems")
    cross_check: int = Field(8, ge=0, description="candidates that transformers scores too; 0 switches it off")
    tolerance: float = Field(1e-3, gt=0, description="largest difference of a probability in the cross-check")


class Engine(Section):
    """The sampling engine. Only max_model_len can change a result (what is too long); nothing else causes a rerun."""

    kind: Literal["server", "vllm", "transformers"] = "vllm"
    url: Address | None = Field(
        None, description="kind server: such as http://host:8000/v1; its key is in MMPRM_API_KEY, never here"
    )
    served_model: str | None = Field(None, min_length=1, description="kind server: default: the only model there")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    max_running: int = Field(256, ge=1, description="sequences in one engine step, or on their way to a server")
    max_model_len: int = Field(8192, ge=64)
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1)
    kv_cache_gib: int = Field(4, ge=1, description="on the CPU only")
    tensor_parallel: int = Field(1, ge=1)
    max_images: int = Field(1, ge=1, description="the most images a problem may have")
    open_problems: int = Field(512, ge=1, description="searches in flight over one engine")

    @model_validator(mode="after")
    def _server_has_an_address(self) -> Engine:
        if self.kind == "server" and self.url is None:
            raise ValueError("url: kind server needs the address of a vLLM server, such as http://host:8000/v1")
        return self


JUDGE_PROMPT = "1"  # the version of what grading.judge asks, and of how it reads a reply


class Judge(Section):
    """A model that is asked whether an answer is right; its key is in MMPRM_JUDGE_API_KEY, never here."""

    url: Address = Field(description="of an OpenAI-compatible server, such as http://host:8000/v1")
    model: str = Field(min_length=1, description="its name there; another model's verdicts are made anew")
    timeout: float = Field(60, gt=0, description="seconds that it may be silent in a try")
    max_concurrent: int = Field(8, ge=1, description="questions on their way to it")
    tries: int = Field(5, ge=1, description="after the last one the answer is undecided, until the next run")

    @property
    def identity(self) -> str:
        """What its verdicts depend on."""
        return f"{self.model}, prompt {JUDGE_PROMPT}"


class Grading(Section):
    """How answers are compared. Only the judge can change a result: what is undecided is tried again."""

    workers: int = Field(2, ge=1, description="processes that compare formulas")
    timeout: float = Field(5.0, gt=0, description="seconds for a comparison, which is tried twice")
    judge: Judge | None = Field(None, description="for what neither the rules nor math-verify can read")


class Shards(Section):
    """How many jobs a stage is cut into. The tables do not depend on it."""

    seeds: int = Field(1, ge=1)
    annotation: int = Field(1, ge=1)
    bench: int = Field(1, ge=1)


class Report(Section):
    """report.html."""

    title: str = "MM-PRM"
    trees: int = Field(4, ge=0, description="annotated trees to show")


class Config(Section):
    """A whole run."""

    run: Name = Field(description="results go to results/<run>")
    seed: int = Field(0, ge=0)
    sources: dict[Name, Source] = Field(min_length=1)
    intake: Intake = Intake()
    prompt: Prompt = Prompt()
    policy: Policy
    sampling: Sampling = Sampling()
    seeds: Seeds
    annotation: Annotation = Annotation()
    plan: Plan = Plan()
    labels: Labels = Labels()
    prm: Prm = Prm()
    benchmarks: dict[Name, Benchmark] = Field(min_length=1)
    step_benchmarks: dict[Name, StepTest] = Field(
        {}, description="labelled steps on which the PRMs' verdicts are measured"
    )
    bench: Bench = Bench()
    engine: Engine = Engine()
    grading: Grading = Grading()
    shards: Shards = Shards()
    report: Report = Report()

    @field_validator("sources")
    @classmethod
    def _families_exist(cls, sources: dict[str, Any]) -> dict[str, Any]:
        from mmprm.problems.mini import ALL_FAMILIES

        for name, source in sources.items():
            unknown = sorted(set(getattr(source, "families", [])) - set(ALL_FAMILIES))
            if unknown:
                raise ValueError(f"{name}.families: {unknown} do not exist; allowed: {sorted(ALL_FAMILIES)}")
        return sources

    def _trained_on(self) -> dict[str, list[str]]:
        """The sources whose problems a model is trained on, by the key that names them."""
        return {"policy.sources": list(self.policy.sources), "seeds.sources": list(self.seeds.sources)}

    @model_validator(mode="after")
    def _references_exist(self) -> Config:
        tested = {f"benchmarks.{name}.source": [bench.source] for name, bench in self.benchmarks.items()}
        used = self._trained_on() | tested
        for key, names in used.items():
            for name in names:
                if name not in self.sources:
                    raise ValueError(f"{key}: there is no source {name!r}; allowed: {sorted(self.sources)}")
        check_step_tests(self.step_benchmarks)
        return self

    @model_validator(mode="after")
    def _tests_are_not_trained_on(self) -> Config:
        """No problem of a benchmark may be in training; that two sources differ in name says nothing of their rows."""
        for bench, settings in self.benchmarks.items():
            for key, names in self._trained_on().items():
                for name in names:
                    if share_problems(self.sources[settings.source], self.sources[name]):
                        raise ValueError(
                            f"benchmarks.{bench}.source: {settings.source!r} shares problems with {name!r} of {key}; "
                            "give a benchmark problems of its own (of mini problems, another split)"
                        )
        return self


def load(values: Mapping[str, Any]) -> Config:
    """Validate a configuration mapping; UserError lists every wrong key with its value and what is allowed."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors()]
        raise UserError("the configuration is wrong:\n" + "\n".join(lines)) from error


def _explain(problem: Any) -> str:
    """A line for one of pydantic's errors: the key, what is wrong or allowed, and the value."""
    kind, message, value = problem["type"], problem["msg"].removeprefix("Value error, "), problem.get("input")
    place = [str(part) for part in problem["loc"]]
    if kind == "extra_forbidden":
        message = f"there is no such key; allowed: {_keys_at(place[:-1])}"
    elif kind in ("missing", "union_tag_not_found"):
        message = "this key is needed"
    if kind.startswith("union_tag"):
        place.append("kind")
        value = value.get("kind") if isinstance(value, dict) else value
    elif place and place[-1] == "[key]":
        place.pop()  # what follows the name of a wrong key of a mapping
    # A source's place names its kind too, which is no key.
    in_source = place[:1] == ["sources"] and place[2:3] in (["mini"], ["table"])
    key = ".".join(place[:2] + place[3:] if in_source else place)
    line = f"  {key}: {message}" if key else f"  {message}"
    if message == "this key is needed" or kind == "value_error":  # the one has no value, the other's message says it
        return line
    if kind == "extra_forbidden" and re.search(r"key|token|secret|password", key):  # it must not reach a log
        return line
    return f"{line} (got {value!r:.200})"


def _keys_at(place: list[str]) -> list[str]:
    """The keys of the section at a place in the configuration, as pydantic writes places."""
    section: Any = Config
    for part in place:
        if isinstance(section, type) and issubclass(section, BaseModel):
            section = section.model_fields[part].annotation
        elif part in ("mini", "table"):
            section = MiniSource if part == "mini" else TableSource
        else:  # a name in a mapping: go on to what it names
            section = get_args(section)[1]
        if type(None) in get_args(section):
            section = get_args(section)[0]
    return sorted(section.model_fields)


def read(path: Path) -> Config:
    """Read the resolved configuration of a run (`results/<run>/config.json`)."""
    try:
        return load(json.loads(path.read_text()))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run `snakemake {path}`") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not JSON ({error})") from error
