"""The configuration: each option's type, default, range and meaning, once, in modules by subject.

In: a mapping from YAML, read once, before any job starts. Out: `Config`; jobs read it from results/<run>/config.json.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, Field, ValidationError, model_validator

from mmprm.config.annotation import Annotation, Plan, Seeds
from mmprm.config.evaluation import (
    Ablation,
    Audit,
    Bench,
    Benchmark,
    DataCard,
    Report,
    StepTest,
    Trees,
    check_step_tests,
)
from mmprm.config.evidence import Evidence, SealedTest, check_sealed, is_sealed
from mmprm.config.experiments import Strategy
from mmprm.config.labels import Labels
from mmprm.config.models import EngineSettings, GradingSettings, Prompt, Sampling
from mmprm.config.overlap import check_curated, check_derived, share_problems, weights_of
from mmprm.config.planning import Expected, Hardware
from mmprm.config.publish import Publish
from mmprm.config.section import LocalFile, Name, Section, StoreAddress, check_names
from mmprm.config.sources import KINDS, Intake, Source, StepBenchmark, StepSource
from mmprm.config.training import Policy, Prm, Training
from mmprm.runtime.errors import UserError

__all__ = [
    "Annotation",
    "Bench",
    "Config",
    "EngineSettings",
    "GradingSettings",
    "Labels",
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
    sealed: dict[Name, SealedTest] = Field(
        {}, description="benchmarks for the target `sealed` alone, by names that no other benchmark has"
    )
    evidence: Evidence = Field(Evidence(), description="what was claimed of sealed tests, and the looks at them")
    step_benchmarks: dict[Name, StepTest] = Field({}, description="labelled steps on which PRMs are measured")
    bench: Bench = Field(Bench(), description="Best-of-N")
    guided: dict[Name, Strategy] = Field(default_factory=dict, description="strategies beside Best-of-N, by name")
    engine: EngineSettings = Field(EngineSettings(), description="the sampling engine")
    grading: GradingSettings = Field(GradingSettings(), description="how answers are compared")
    shards: Shards = Field(Shards(), description="jobs into which stages are cut")
    hardware: Hardware = Field(Hardware(), description="what memory and costs are calculated for, before a run")
    expected: Expected = Field(Expected(), description="what costs are calculated from, before data and policy exist")
    preflight: Literal["stop", "warn"] = Field(
        "stop", description="what happens at the start of a run where something is missing or will not fit"
    )
    report: Report = Field(Report(), description="report.html")
    data_card: DataCard = Field(DataCard(), description="data_card.md")
    trees: Trees = Field(Trees(), description="trees.html, for the target `trees`")
    audit: Audit = Field(Audit(), description="audit.html, for the target `audit`")
    publish: Publish = Field(Publish(), description="what cards and uploads to the hub say")

    @property
    def policy_weights(self) -> dict[str, float]:
        """The weights other than 1 of the policy's sources: how often their problems are taken in an epoch."""
        return weights_of(self.sources, self.policy.sources)

    @property
    def tests(self) -> dict[str, Benchmark | SealedTest]:
        """The benchmarks, and behind them the sealed ones."""
        return {**self.benchmarks, **self.sealed}

    @property
    def open_sources(self) -> list[str]:
        """The sources but those whose problems are drawn at the first look at a sealed test."""
        return [name for name, source in self.sources.items() if not is_sealed(source)]

    def _trained_on(self) -> dict[str, list[str]]:
        """Map the keys that name training sources to these sources."""
        return {"policy.sources": list(self.policy.sources), "seeds.sources": list(self.seeds.sources)}

    @model_validator(mode="after")
    def _references_exist(self) -> Self:
        used = self._trained_on() | {f"benchmarks.{name}.source": [one.source] for name, one in self.benchmarks.items()}
        sealed = {f"sealed.{name}.source": [test.source] for name, test in self.sealed.items()}
        for key, names in (used | sealed).items():
            check_names(key, names, self.sources, "source ")
        check_derived(self.sources)
        used |= {f"sources.{name}": list(getattr(source, "sources", ())) for name, source in self.sources.items()}
        check_sealed(self.sources, self.sealed, ((key, name) for key, names in used.items() for name in names))
        if both := sorted(set(self.sealed) & set(self.benchmarks)):
            raise ValueError(f"sealed.{both[0]}: a benchmark has this name too; rename one")
        for name, source in self.sources.items():
            against = getattr(source, "against", None) or ()
            check_names(f"sources.{name}.against", against, self.benchmarks, "benchmark ")
        check_curated(self.sources, {name: bench.source for name, bench in self.benchmarks.items()})
        check_step_tests(self.step_benchmarks)
        for name, ablation in self.ablations.items():
            check_names(f"ablations.{name}.variants", ablation.variants, self.prm.trained)
            check_names(f"ablations.{name}.benchmarks", ablation.benchmarks or (), self.benchmarks)
        for name, variant in self.prm.variants.items():
            check_names(f"prm.variants.{name}.label_set", filter(None, [variant.label_set]), self.labels.sets)
        check_names("trees.variant", filter(None, [self.trees.variant]), self.prm.trained)
        return self

    @model_validator(mode="after")
    def _extra_labels_are_training_data(self) -> Self:
        allowed = sorted(name for name, data in self.step_data.items() if not isinstance(data, StepBenchmark))
        if wrong := [name for name in self.labels.extra if name not in allowed]:
            raise ValueError(f"labels.extra: {wrong[0]!r} is no training data of step_data; allowed: {allowed}")
        if both := sorted(set(self.step_data) & set(self.sources)):
            raise ValueError(f"step_data.{both[0]}: a source has this name too, and ids begin with it; rename one")
        return self

    @model_validator(mode="after")
    def _tests_are_not_trained_on(self) -> Self:
        """Refuse benchmarks whose problems are trained on; sources of different names may read the same rows."""
        trained = [(key, name) for key, names in self._trained_on().items() for name in names]
        for bench, settings in self.tests.items():
            section = "sealed" if bench in self.sealed else "benchmarks"
            for key, name in trained:
                if share_problems(self.sources, settings.source, name):
                    raise ValueError(
                        f"{section}.{bench}.source: {settings.source!r} shares problems with {name!r} of {key}; "
                        "give a benchmark problems of its own (of mini problems, another split)"
                    )
        return self


def load(values: Mapping[str, Any]) -> Config:
    """Validate a configuration mapping; UserError lists every wrong key with its value and what is allowed."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors()]
        raise UserError("the configuration is invalid:\n" + "\n".join(lines)) from error


def read(path: Path) -> Config:
    """Read the resolved configuration of a run (`results/<run>/config.json`)."""
    try:
        return load(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run `snakemake {path}`") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not JSON ({error})") from error


_SECRET_KEY = re.compile("key|token|secret|passw|credential|auth", re.IGNORECASE)
_SECRET = re.compile(r"\b(?:sk-|hf_|gh[pousr]_|AKIA)\w|://[^/\s]*@|^(?=.*\d)(?=.*[A-Za-z])[A-Za-z0-9+/=_-]{24,}$")


def _explain(problem: Any) -> str:
    """Return a line for one of pydantic's errors: the key, what is wrong or allowed, and the value."""
    kind, message, value = problem["type"], problem["msg"].removeprefix("Value error, "), problem.get("input")
    location = [str(part) for part in problem["loc"]]
    if kind == "extra_forbidden":
        message = f"there is no such key; allowed: {_keys_at(location[:-1])}"
    elif kind in ("missing", "union_tag_not_found"):
        message = "this key is needed"
    if kind.startswith("union_tag"):
        location.append("kind")
        value = value.get("kind") if isinstance(value, dict) else value
    elif location and location[-1] == "[key]":
        location.pop()  # what follows the name of a wrong key of a mapping
    # A source's location names its kind too, which is no key.
    in_source = location[2:3] and location[2] in KINDS.get(location[0], ())
    key = ".".join(location[:2] + location[3:] if in_source else location)
    line = f"  {key}: {message}" if key else f"  {message}"
    if message == "this key is needed" or kind == "value_error":  # no value, or one that the message names
        return line
    if kind == "extra_forbidden" and _SECRET_KEY.search(key):  # it must not reach a log
        return line
    return f"{line} (got {_without_secrets(value)!r:.200})"


def _without_secrets(value: Any) -> Any:
    """Replace what may be a secret by ***: values of keys that say so, and texts that look like keys or passwords."""
    if isinstance(value, Mapping):
        hidden = {key: bool(_SECRET_KEY.search(str(key))) for key in value}
        return {key: "***" if hidden[key] else _without_secrets(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_secrets(inner) for inner in value]
    return "***" if isinstance(value, str) and _SECRET.search(value) else value


def _keys_at(location: list[str]) -> list[str]:
    """List the keys of the section at a location, as pydantic writes locations."""
    section: Any = Config
    for part in location:
        if isinstance(section, type) and issubclass(section, BaseModel):
            section = section.model_fields[part].annotation
        elif part in KINDS.get(location[0], ()):
            section = KINDS[location[0]][part]
        else:  # a name in a mapping: go on to what it names
            section = get_args(section)[1]
        if type(None) in get_args(section):
            section = get_args(section)[0]
    return sorted(section.model_fields)
