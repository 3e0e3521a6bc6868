"""The configuration of labels and of ablations. In: mappings from YAML. Out: sections of the configuration."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

from pydantic import Field, model_validator

from mmprm.config.consensus import Consensus
from mmprm.config.section import Name, Section, Share


class LabelSet(Section):
    """Which paths of the trees are taken, and with which soft labels. From pooled_counts on, the split train alone is
    changed."""

    max_paths_per_problem: int | None = Field(None, ge=1)
    max_positive_ratio: float | None = Field(
        1.0, gt=0, description="positive paths a problem for each negative one; null keeps all"
    )
    max_outcome_ratio: float = Field(
        1.0, ge=0, description="wrong whole solutions, labelled at the answer alone, for each positive path"
    )
    pooled_counts: bool = Field(
        False, description="a step counts the rollouts of shorter prefixes too that went through the same steps"
    )
    min_rollouts: int = Field(1, ge=1, description="a step with fewer has no soft label")
    min_self_confidence: Share = Field(
        0, description="problems whose pass rate (MC value of the question) is lower are left out (SCAN)"
    )
    tolerance: int | None = Field(
        None, ge=0, description="steps before the located error that keep their MC value; those before are 1 (SCAN)"
    )
    reweight: bool = Field(False, description="MC values divided by the problem's pass rate, at most 1 (SCAN)")
    keep_ratio: float | None = Field(
        None, gt=0, le=1, description="share of each source's paths kept, by Balanced-Information Score; null keeps all"
    )
    bis_smoothing: float = Field(0.05, gt=0, description="a of the Balanced-Information Score")


class Labels(LabelSet):
    """From trees to labelled step paths: the run's own, and further sets of them for PRM variants that name one."""

    dev_share: Share = Field(0.1, description="share of the problems held out for development")
    extra: list[str] = Field([], description="keys of step_data whose paths are trained on beside the run's own")
    consensus: Consensus | None = Field(
        None, description="a model that must find each path's first error where the labels have it; null: none is asked"
    )
    sets: dict[Name, LabelSet] = Field(
        {}, description="by name, what is otherwise; the rest, held-out paths and `extra` are as here. No consensus"
    )

    @model_validator(mode="before")
    @classmethod
    def _sets_begin_as_the_run(cls, values: Any) -> Any:
        sets = values.get("sets") if isinstance(values, dict) else None
        if not isinstance(sets, dict):
            return values
        own = {key: value for key, value in values.items() if key in LabelSet.model_fields}
        return values | {
            "sets": {name: own | given if isinstance(given, dict) else given for name, given in sets.items()}
        }

    def of(self, name: str | None) -> LabelSet:
        """The set of this name; the run's own for None."""
        return self if name is None else self.sets[name]

    def changed(self, name: str) -> dict[str, Any]:
        """What a set has otherwise than the run's own labels."""
        keys = LabelSet.model_fields
        return {key: value for key in keys if (value := getattr(self.sets[name], key)) != getattr(self, key)}


class Ablation(Section):
    """A comparison of PRM variants on the same candidates: a page and a CSV under results/<run>/ablations/."""

    title: str = Field(min_length=1)
    variants: list[str] = Field(min_length=1, description="keys of prm.variants, in the order to show")
    by: Literal["label", "learning_rate", "epochs", "max_paths_per_problem", "packing"] | None = Field(
        None, description="the key in which they differ, for the axis of the figure; null: their names"
    )
    benchmarks: list[str] | None = Field(None, min_length=1, description="keys of benchmarks; null: all")

    def check(self, place: str, variants: Collection[str], benchmarks: Collection[str]) -> None:
        """ValueError where a variant or a benchmark is not one of these."""
        for key, named, there in (
            ("variants", self.variants, variants),
            ("benchmarks", self.benchmarks or [], benchmarks),
        ):
            for name in named:
                if name not in there:
                    raise ValueError(f"{place}.{key}: there is no {name!r}; allowed: {sorted(there)}")
