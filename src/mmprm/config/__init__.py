"""The configuration: each option's type, default, range and meaning, once. In: a mapping from YAML. Out: `Config`.

`load` raises UserError with the key, the value and what is allowed, before any job starts. Jobs read the resolved file
`results/<run>/config.json`; nothing reads the YAML twice. The sections are in modules by their subject.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from mmprm.config.annotation import Annotation, Plan
from mmprm.config.engine import EngineSettings, Prompt, Sampling
from mmprm.config.errors import explain
from mmprm.config.evaluation import Ablation, Bench, Benchmark, StepTest, check_step_tests
from mmprm.config.experiments import Strategy
from mmprm.config.grading import GradingSettings, JudgeSettings
from mmprm.config.labels import Labels
from mmprm.config.overlap import check_curated, check_derived, share_problems, weights_of
from mmprm.config.report import DataCard, Report
from mmprm.config.section import Aggregate, LocalFile, Name, Section, StoreAddress
from mmprm.config.seeds import Seeds
from mmprm.config.sources import Intake, Source, StepBenchmark, StepSource
from mmprm.config.training import Lora, Policy, Prm, Training
from mmprm.runtime.errors import UserError

__all__ = [
    "Ablation",
    "Aggregate",
    "Annotation",
    "Bench",
    "Config",
    "EngineSettings",
    "GradingSettings",
    "Intake",
    "JudgeSettings",
    "Labels",
    "Lora",
    "Prompt",
    "Sampling",
    "Seeds",
    "Training",
    "load",
    "read",
]


class Shards(Section):
    """Number of jobs into which a stage is cut. The tables do not depend on it."""

    seeds: int = Field(1, ge=1, description="of the rollouts that choose seeds")
    annotation: int = Field(1, ge=1, description="of the tree search")
    bench: int = Field(1, ge=1, description="of the candidates of each benchmark")


class Config(Section):
    """A whole run."""

    run: Name = Field(description="results go to results/<run>")
    seed: int = Field(0, ge=0, description="every draw of the run follows from it")
    sources: dict[Name, Source] = Field(min_length=1, description="where problems come from, by name")
    step_data: dict[Name, StepSource] = Field(
        {}, description="labelled steps from elsewhere: training data, or step benchmarks, which are never trained on"
    )
    remote: dict[LocalFile, StoreAddress] = Field(
        {}, description="local files that are copied from an object store before they are read: path, and s3:// address"
    )
    intake: Intake = Field(Intake(), description="which rows of sources are refused")
    prompt: Prompt = Field(Prompt(), description="what models are asked beside the question")
    policy: Policy = Field(description="the model that solves problems, and its training")
    sampling: Sampling = Field(Sampling(), description="how the policy is sampled, in every stage")
    seeds: Seeds = Field(description="which problems are annotated")
    annotation: Annotation = Field(Annotation(), description="the OmegaPRM tree search")
    plan: Plan = Field(Plan(), description="the cost of the annotation, for the target `plan`")
    labels: Labels = Field(Labels(), description="from trees to labelled step paths")
    prm: Prm = Field(Prm(), description="process reward models, one a variant")
    ablations: dict[Name, Ablation] = Field({}, description="comparisons of variants, for the target `ablations`")
    benchmarks: dict[Name, Benchmark] = Field(min_length=1, description="where candidates are ranked, by name")
    step_benchmarks: dict[Name, StepTest] = Field({}, description="labelled steps on which PRMs are measured")
    bench: Bench = Field(Bench(), description="Best-of-N")
    guided: dict[Name, Strategy] = Field(default_factory=dict, description="strategies beside Best-of-N, by name")
    engine: EngineSettings = Field(EngineSettings(), description="the sampling engine")
    grading: GradingSettings = Field(GradingSettings(), description="how answers are compared")
    shards: Shards = Field(Shards(), description="jobs into which stages are cut")
    report: Report = Field(Report(), description="report.html")
    data_card: DataCard = Field(DataCard(), description="data_card.md")

    @property
    def policy_weights(self) -> dict[str, float]:
        """The weights other than 1 of the policy's sources: how often their problems are taken in an epoch."""
        return weights_of(self.sources, self.policy.sources)

    def _trained_on(self) -> dict[str, list[str]]:
        """Map the keys that name training sources to these sources."""
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
    def _ablations_compare_existing_variants(self) -> Config:
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
            raise ValueError(f"step_data.{both[0]}: a source has this name too, and ids begin with it; rename one")
        return self

    @model_validator(mode="after")
    def _tests_are_not_trained_on(self) -> Config:
        """Refuse benchmarks whose problems are trained on; sources of different names may read the same rows."""
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
        raise UserError("the configuration is invalid:\n" + "\n".join(lines)) from error


def read(path: Path) -> Config:
    """Read the resolved configuration of a run (`results/<run>/config.json`)."""
    try:
        return load(json.loads(path.read_text()))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run `snakemake {path}`") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not JSON ({error})") from error
