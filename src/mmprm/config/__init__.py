"""The configuration: each option's type, default, range and meaning, once. In: a mapping from YAML. Out: `Config`.

`load` raises UserError with the key, the value and what is allowed, before any job starts. Rules pass whole values to
jobs through the resolved file `results/<run>/config.json`; nothing reads the YAML twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from mmprm.config.errors import explain
from mmprm.config.guided import Strategy
from mmprm.config.labels import Ablation, Labels
from mmprm.config.overlap import check_curated, check_derived, share_problems, weights_of
from mmprm.config.section import NOT_RESULTS, Address, Aggregate, LocalFile, Name, Section, Share, StoreAddress
from mmprm.config.seeds import Seeds
from mmprm.config.sources import Source, StepBenchmark, StepSource
from mmprm.config.steps import StepTest, check_step_tests
from mmprm.config.training import Lora, Packing, Training
from mmprm.runtime.errors import UserError

__all__ = ["NOT_RESULTS", "Config", "load", "read"]


class Intake(Section):
    """What is refused on the way in."""

    max_refused_share: Share = Field(0.05, description="stop when more than this share of a source's rows is refused")
    judge_after: int | None = Field(
        100_000,
        ge=1,
        description="after so many rows of a source the share is also held against those read so far, so that a bad "
        "source stops early; null: only where the bound cannot be kept, or at the end",
    )
    max_image_pixels: int = Field(
        25_000_000, ge=1, le=178_956_970, description="larger images are refused undecoded; at most Pillow's own limit"
    )


class Prompt(Section):
    """What the user's turn says beside the question."""

    instruction: str = Field("", description="text after the question")


class Policy(Section):
    """Supervised fine-tuning of the base model on step-tagged solutions."""

    base: Path = Field(description="a local Hugging Face model folder")
    sources: list[Name] = Field(min_length=1)
    training: Training = Training(learning_rate=4e-5)
    packed_tokens: int | None = Field(
        None,
        ge=16,
        description="lay solutions one after another, up to so many tokens (or the longest) a forward pass on one "
        "device, none seeing another, in place of padding training.micro_batch_size of them",
    )

    @model_validator(mode="after")
    def _there_is_a_best(self) -> Policy:
        if self.training.keep_best:
            raise ValueError("training.keep_best: the policy has no held-out problems to judge by; set it to false")
        return self


class Sampling(Section):
    """How a model is sampled: the policy, in every stage, and one that is given instructions."""

    temperature: float = Field(1.0, ge=0, le=2, description="0: greedy; vLLM takes no more than 2")
    top_p: float = Field(0.9, gt=0, le=1)
    top_k: int = Field(50, ge=0, description="0: no cut")
    max_new_tokens: int = Field(4096, ge=1)


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


class Variant(Section):
    """A named PRM recipe; what is not given is taken from `prm.training`."""

    label: Literal["soft", "hard", "counts", "outcome"] = Field(
        "soft",
        description="soft: MC values; hard: MC > 0; counts: Beta-Binomial, with a predicted concentration; "
        "outcome: verdicts of answers alone",
    )
    learning_rate: float | None = Field(None, gt=0)
    epochs: float | None = Field(None, gt=0)
    max_paths_per_problem: int | None = Field(None, ge=1)
    packing: Packing | None = None
    label_set: Name | None = Field(
        None, description="a key of labels.sets to be trained on; null: the run's own labels"
    )
    lora: Lora | None = Field(None, description="null, where it is given: all weights, whatever prm.training says")

    @model_serializer(mode="wrap")
    def _lora_if_given(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if key != "lora" or key in self.model_fields_set}


class Prm(Section):
    """PRM training, from the policy's weights."""

    training: Training = Training(learning_rate=4e-6, batch_size=512)
    marker_init: str = Field("?", description="text whose mean embedding the <prm> token starts from")
    packing: Packing = Field(
        "paths",
        description="trees: a problem's paths are one sequence, each shared token once, and whole problems a batch",
    )
    variants: dict[Name, Variant] = Field(default_factory=lambda: {"soft": Variant()}, min_length=1)

    def training_of(self, variant: str) -> Training:
        """`training` with what the variant gives in its place; ValueError where the two do not go together."""
        recipe = self.variants[variant]
        given = {key: getattr(recipe, key) for key in ("learning_rate", "epochs") if getattr(recipe, key) is not None}
        given |= {"lora": recipe.lora} if "lora" in recipe.model_fields_set else {}
        return Training.model_validate(dict(self.training) | given)

    def packing_of(self, variant: str) -> Packing:
        """The variant's own packing, or else `packing`."""
        return self.variants[variant].packing or self.packing

    @model_validator(mode="after")
    def _variants_are_whole(self) -> Prm:
        for name in self.variants:
            try:
                self.training_of(name)
            except ValidationError as error:
                raise ValueError(
                    f"variants.{name}: {error.errors()[0]['msg'].removeprefix('Value error, ')}"
                ) from error
        return self


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
    tolerance: float = Field(
        1e-3, gt=0, description="largest difference of a probability, or of 1 / (1 + concentration), in the cross-check"
    )


class EngineSettings(Section):
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
    tensor_parallel: int = Field(1, ge=1, description="GPUs that a model is spread over, and that a job waits for")
    max_images: int = Field(1, ge=1, description="the most images a problem may have")
    open_problems: int = Field(512, ge=1, description="searches in flight over one engine")

    @model_validator(mode="after")
    def _server_has_an_address(self) -> EngineSettings:
        if self.kind == "server" and self.url is None:
            raise ValueError("url: kind server needs the address of a vLLM server, such as http://host:8000/v1")
        return self


JUDGE_PROMPT = "1"  # the version of what grading.judge asks, and of how it reads a reply


class JudgeSettings(Section):
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


class GradingSettings(Section):
    """How answers are compared. Only the judge can change a result: what is undecided is tried again."""

    workers: int = Field(2, ge=1, description="processes that compare formulas")
    timeout: float = Field(5.0, gt=0, description="seconds for a comparison, which is tried twice")
    judge: JudgeSettings | None = Field(None, description="for what neither the rules nor math-verify can read")


class Shards(Section):
    """How many jobs a stage is cut into. The tables do not depend on it."""

    seeds: int = Field(1, ge=1)
    annotation: int = Field(1, ge=1)
    bench: int = Field(1, ge=1)


class Report(Section):
    """report.html."""

    title: str = "MM-PRM"
    trees: int = Field(4, ge=0, description="annotated trees to show")


class DataCard(Section):
    """data_card.md, and its part of the report."""

    language: list[str] = Field(["en"], description="of the problems, as codes such as en or zh")
    examples: int = Field(3, ge=0, description="kept problems to show, and as many refused ones of each stage")


class Config(Section):
    """A whole run."""

    run: Name = Field(description="results go to results/<run>")
    seed: int = Field(0, ge=0)
    sources: dict[Name, Source] = Field(min_length=1)
    step_data: dict[Name, StepSource] = Field(
        {}, description="labelled steps from elsewhere: training data, or step benchmarks, which are never trained on"
    )
    remote: dict[LocalFile, StoreAddress] = Field(
        {}, description="local files that are copied from an object store before they are read: path, and s3:// address"
    )
    intake: Intake = Intake()
    prompt: Prompt = Prompt()
    policy: Policy
    sampling: Sampling = Sampling()
    seeds: Seeds
    annotation: Annotation = Annotation()
    plan: Plan = Plan()
    labels: Labels = Labels()
    prm: Prm = Prm()
    ablations: dict[Name, Ablation] = Field({}, description="comparisons of variants, for the target `ablations`")
    benchmarks: dict[Name, Benchmark] = Field(min_length=1)
    step_benchmarks: dict[Name, StepTest] = Field(
        {}, description="labelled steps on which the PRMs' verdicts are measured"
    )
    bench: Bench = Bench()
    guided: dict[Name, Strategy] = Field(default_factory=dict, description="strategies beside Best-of-N, by name")
    engine: EngineSettings = EngineSettings()
    grading: GradingSettings = GradingSettings()
    shards: Shards = Shards()
    report: Report = Report()
    data_card: DataCard = DataCard()

    @property
    def policy_weights(self) -> dict[str, float]:
        """How often the problems of a source are taken in an epoch of policy training, where that is not once."""
        return weights_of(self.sources, self.policy.sources)

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
        check_derived(self.sources)
        for name, source in self.sources.items():
            if unknown := set(getattr(source, "against", None) or ()) - set(self.benchmarks):
                allowed = sorted(self.benchmarks)
                raise ValueError(f"sources.{name}.against: there is no benchmark {min(unknown)!r}; allowed: {allowed}")
        check_curated(self.sources, {name: bench.source for name, bench in self.benchmarks.items()})
        check_step_tests(self.step_benchmarks)
        return self

    @model_validator(mode="after")
    def _ablations_compare_what_there_is(self) -> Config:
        for name, ablation in self.ablations.items():
            ablation.check(f"ablations.{name}", self.prm.variants, self.benchmarks)
        return self

    @model_validator(mode="after")
    def _label_sets_exist(self) -> Config:
        for name, variant in self.prm.variants.items():
            if variant.label_set not in (None, *self.labels.sets):
                allowed = sorted(self.labels.sets)
                raise ValueError(
                    f"prm.variants.{name}.label_set: there is no {variant.label_set!r}; allowed: {allowed}"
                )
        return self

    @model_validator(mode="after")
    def _extra_labels_are_training_data(self) -> Config:
        for name in self.labels.extra:
            if isinstance(self.step_data.get(name), StepBenchmark | None):
                allowed = sorted(key for key, data in self.step_data.items() if not isinstance(data, StepBenchmark))
                raise ValueError(f"labels.extra: {name!r} is no training data of step_data; allowed: {allowed}")
        if both := sorted(set(self.step_data) & set(self.sources)):
            raise ValueError(f"step_data.{both[0]}: a source is called so too, and ids begin with the name; rename one")
        return self

    @model_validator(mode="after")
    def _tests_are_not_trained_on(self) -> Config:
        """No problem of a benchmark may be in training; that two sources differ in name says nothing of their rows."""
        for bench, settings in self.benchmarks.items():
            for key, names in self._trained_on().items():
                for name in names:
                    if share_problems(self.sources, settings.source, name):
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
        lines = [explain(problem, Config) for problem in error.errors()]
        raise UserError("the configuration is wrong:\n" + "\n".join(lines)) from error


def read(path: Path) -> Config:
    """Read the resolved configuration of a run (`results/<run>/config.json`)."""
    try:
        return load(json.loads(path.read_text()))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run `snakemake {path}`") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not JSON ({error})") from error
