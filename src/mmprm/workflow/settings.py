"""Params of the rules. In: the configuration. Out: `key=value` texts of the settings on which a job's result depends.

Snakemake runs a job again when one of its params has changed, and names that param. Settings that change speed or
memory alone are no params: mmprm.config marks them as NO_RESULT. Whole sections reach a job through the resolved file
results/<run>/config.json, which is no input of any rule.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

from mmprm.config import Config
from mmprm.config.evaluation import Benchmark
from mmprm.config.evidence import SealedTest
from mmprm.config.models import InstructedModel
from mmprm.config.section import Section, is_result
from mmprm.config.training import Variant, split_model
from mmprm.runtime.errors import UserError
from mmprm.sealed.recipe import recipe_digest, settings_digest

# What every sampled solution depends on.
SAMPLED = ("sampling", "prompt", "seed", "engine.max_model_len", "grading.judge.identity")


class Settings:
    """Params of a configuration's rules. Methods that take `wildcards` are Snakemake's functions of params."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def affects(self, *keys: str, version: int) -> list[str]:
        """List the version of a stage's algorithm and the settings below dotted keys, e.g. affects("seed", version=1).

        A section that is null adds nothing: a run from before such a section existed keeps its results.
        """
        params = [f"version={version}"]
        for key in keys:
            *sections, last = key.split(".")
            section: Any = self.config
            for name in sections:
                section = section and getattr(section, name)
            if section is not None:
                params += [_escaped(param) for param in flat(key, getattr(section, last))]
        return params

    def remote_address(self, wildcards: Any) -> str:
        """Return the address of a local file in its object store."""
        return self.config.remote[wildcards.file]

    def entry(self, section: str, wildcard: str) -> Callable[[Any], str]:
        """Return the function of params of an entry that a wildcard names, e.g. entry("sources", "source")."""

        def params(wildcards: Any) -> str:
            name = getattr(wildcards, wildcard)
            return "; ".join(flat(f"{section}.{name}", chosen(self.config, section, name)))

        return params

    def test(self, wildcards: Any) -> str:
        """Return the params of the benchmark that a wildcard names, a sealed one or another."""
        section = "sealed" if wildcards.benchmark in self.config.sealed else "benchmarks"
        return self.entry(section, "benchmark")(wildcards)

    def look(self, wildcards: Any) -> str:
        """Return what makes another look at a sealed test: its problems, settings, and what was claimed beforehand."""
        chosen(self.config, "sealed", wildcards.test)
        registration = Path(self.config.evidence.registration)
        claims = hashlib.sha256(registration.read_bytes()).hexdigest() if registration.is_file() else ""
        return (
            f"problems={recipe_digest(self.config, wildcards.test)}; "
            f"settings={settings_digest(self.config, wildcards.test)}; registration={claims}"
        )

    def source_weights(self) -> list[str]:
        """List the weights other than 1 of the sources that the policy is trained on."""
        return [f"sources.{name}.weight={weight}" for name, weight in self.config.policy_weights.items()]

    def tagging(self, wildcards: Any) -> str:
        """Return what the steps of a tagged source depend on beside the solutions."""
        source = chosen(self.config, "sources", wildcards.source)
        return _instructed(source.identity, source.asked_model)

    def judge(self, wildcards: Any) -> str:
        """Return what the paths that labels.consensus keeps depend on beside all paths; UserError without a model."""
        judge = self.config.labels.consensus
        if judge is None:
            raise UserError("labels.consensus: no judging model is configured; PRMs are trained on all paths")
        return _instructed(judge.identity, judge)

    def label_set(self, wildcards: Any) -> str:
        """Return what the paths of a label set depend on beside the trees."""
        return "; ".join(flat("labels", chosen(self.config, "labels.sets", wildcards.label_set)))

    def variant(self, wildcards: Any) -> str:
        """Return a variant's recipe: prm.training with the variant's own keys, and its labels."""
        variant = recipe_of(self.config, wildcards.variant)
        recipe = list(flat("training", self.config.prm.training_of(wildcards.variant)))
        labels = {name: getattr(variant, name) for name in ("label", "max_paths_per_problem")}
        recipe += [f"training.{name}={json.dumps(value)}" for name, value in labels.items() if value is not None]
        return "; ".join(recipe)

    def training(self, wildcards: Any) -> str:
        """Return what the training of a variant depends on: its recipe, and how its sequences are laid out."""
        recipe = self.variant(wildcards)
        return f"{recipe}; prm.packing={json.dumps(self.config.prm.packing_of(wildcards.variant))}"

    def external(self, wildcards: Any) -> str:
        """Return how a published PRM is asked."""
        external = recipe_of(self.config, wildcards.variant).external
        if external and external.critic:
            return _instructed(external.critic.identity, external.critic)
        return "; ".join(flat("external", external))

    def step_split(self, wildcards: Any) -> str:
        """Return the split of its paths that a step benchmark measures."""
        return str(chosen(self.config, "step_benchmarks", wildcards.benchmark).split)

    def strategy(self, wildcards: Any) -> str:
        """Return what a strategy's choices depend on; `credibility` only for a PRM that was trained on counts."""
        key = f"guided.{wildcards.strategy}"
        settings = list(flat(key, chosen(self.config, "guided", wildcards.strategy)))
        if recipe_of(self.config, wildcards.variant).label != "counts":
            settings = [setting for setting in settings if not setting.startswith(f"{key}.credibility=")]
        return "; ".join(settings)

    def ablation(self, wildcards: Any) -> str:
        """Return what an ablation's page depends on beside its tables: its own settings, and its variants' recipes."""
        ablation = chosen(self.config, "ablations", wildcards.ablation)
        recipes = [f"{name}: {self.config.prm.variants[name].model_dump_json()}" for name in ablation.variants]
        return "; ".join([*flat(wildcards.ablation, ablation), *recipes])

    def base_model(self, wildcards: Any) -> str:
        """Return a fingerprint of the base model's folder."""
        return f"base={_fingerprint(self.config.policy.base)}"


def chosen(config: Config, section: str, name: str) -> Any:
    """Return the entry of a section, e.g. prm.variants, that a wildcard names; UserError lists those that exist."""
    entries = attrgetter(section)(config)
    if name not in entries:
        raise UserError(f"{section}: there is no {name!r} in the configuration; allowed: {sorted(entries)}")
    return entries[name]


def test_of(config: Config, name: str) -> Benchmark | SealedTest:
    """Return the benchmark that a wildcard names; UserError lists those that are not sealed."""
    test: Benchmark | SealedTest = chosen(config, "sealed" if name in config.sealed else "benchmarks", name)
    return test


def recipe_of(config: Config, model: str) -> Variant:
    """Return the variant of a model that a wildcard names, soft or soft@1; UserError lists those that exist."""
    name, replicate = split_model(model)
    variant: Variant = chosen(config, "prm.variants", name)
    if replicate >= config.prm.replicates:
        allowed = config.prm.models_of(name)
        raise UserError(f"prm.replicates: {config.prm.replicates}, so there is no {model!r}; allowed: {allowed}")
    return variant


def flat(key: str, value: Any) -> Iterator[str]:
    """Yield `key=value` (JSON) for each leaf below a section, but for fields that cannot change a result."""
    if isinstance(value, Section):
        for name, field in type(value).model_fields.items():
            if is_result(field):
                yield from flat(f"{key}.{name}", getattr(value, name))
    else:
        yield f"{key}={json.dumps(value, default=str, ensure_ascii=False)}"


def is_local(model: InstructedModel | None) -> bool:
    """Tell whether a model that is given instructions runs in the job itself; None stands for no model."""
    return model is not None and model.kind != "server"


def _instructed(identity: str, model: InstructedModel | None) -> str:
    """Return what a model's replies depend on: its identity, and of a local one the fingerprint of its folder."""
    weights = f"; weights={_fingerprint(Path(model.model))}" if model is not None and is_local(model) else ""
    return _escaped(identity + weights)


def _escaped(param: str) -> str:
    """Double the braces: Snakemake fills in {wildcards} of params."""
    return param.replace("{", "{{").replace("}", "}}")


def _fingerprint(folder: Path) -> str:
    """Hash a model folder's manifest, or else its config.json, which is fast; empty where it has neither."""
    files = [file for file in (folder / "manifest.json", folder / "config.json") if file.exists()]
    return hashlib.sha256(files[0].read_bytes()).hexdigest()[:16] if files else ""
