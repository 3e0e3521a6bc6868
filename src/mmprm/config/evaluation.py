"""Benchmarks, step benchmarks and ablations: what PRMs are measured on; and the report and the data card."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from mmprm.config.section import Aggregate, Name, Section, TableFile


class Benchmark(Section):
    """A set of problems on which candidates are ranked."""

    source: Name = Field(description="a key of sources")
    domain: Literal["in_domain", "out_of_domain", "development"] = Field(
        "in_domain", description="on development problems choices are made"
    )


class Bench(Section):
    """Best-of-N."""

    n: int = Field(16, ge=1, description="candidates a problem")
    primary: Aggregate = Field(
        "mean_odds", description="aggregate of a candidate's step scores that counts: fixed before a test is looked at"
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="of intervals")
    resamples: int = Field(10_000, ge=100, description="of the bootstrap over problems")
    cross_check: int = Field(8, ge=0, description="candidates that transformers scores too; 0 switches it off")
    tolerance: float | None = Field(
        None,
        gt=0,
        description="largest difference of a probability, or of 1 / (1 + concentration), in the cross-check; null: by "
        "the weights' dtype, 1e-3 in float32, 0.01 in float16, 0.05 in bfloat16",
    )


class StepTest(Section):
    """Labelled solutions on which a PRM's verdicts of steps are measured. A step is called wrong below the threshold.

    Without a threshold and a development set it is itself a development set: its threshold is chosen on its own paths,
    and its numbers are no evidence.
    """

    problems: TableFile = Field(description="a problem table; <results> stands for the folder of the run")
    paths: TableFile = Field(description="labelled step paths of these problems, in the form of labels/paths.parquet")
    split: str | None = Field(None, description="only paths of this split; null: all")
    metric: Literal["first_error", "macro_f1"] = Field(
        "macro_f1",
        description="first_error: F1 of finding the first wrong step (ProcessBench); macro_f1: of right and wrong "
        "steps (VisualProcessBench, PRMBench)",
    )
    development: str | None = Field(None, description="the step benchmark on which the threshold is chosen")
    threshold: float | None = Field(None, ge=0, le=1, description="a threshold that was fixed beforehand")

    @model_validator(mode="after")
    def _one_threshold(self) -> Self:
        if self.development is not None and self.threshold is not None:
            raise ValueError("threshold: give either a threshold or a development set, not both")
        return self

    @property
    def is_development(self) -> bool:
        """Whether its threshold is chosen on its own paths."""
        return self.development is None and self.threshold is None


def check_step_tests(tests: Mapping[str, StepTest]) -> None:
    """Check development sets: ValueError where one is missing, has a threshold from elsewhere, or is the test."""
    for name, test in tests.items():
        if test.development is None:
            continue
        key = f"step_benchmarks.{name}.development"
        chosen_on = tests.get(test.development)
        if chosen_on is None or not chosen_on.is_development:
            allowed = sorted(other for other, settings in tests.items() if settings.is_development)
            raise ValueError(
                f"{key}: {test.development!r} is no step benchmark without a threshold and a development set of its "
                f"own; allowed: {allowed}"
            )
        if chosen_on.paths == test.paths and (chosen_on.split == test.split or None in (chosen_on.split, test.split)):
            raise ValueError(f"{key}: {test.development!r} has paths of the test; name another file or split")


class Ablation(Section):
    """A comparison of PRM variants on the same candidates: a page and a CSV under results/<run>/ablations/."""

    title: str = Field(min_length=1, description="of its page")
    variants: list[str] = Field(min_length=1, description="keys of prm.variants, in the order to show")
    by: Literal["label", "learning_rate", "epochs", "max_paths_per_problem", "packing"] | None = Field(
        None, description="the key in which they differ, for the axis of the figure; null: their names"
    )
    benchmarks: list[str] | None = Field(None, min_length=1, description="keys of benchmarks; null: all")


class Report(Section):
    """report.html."""

    title: str = Field("MM-PRM", description="of the page")
    trees: int = Field(4, ge=0, description="annotated trees to show")


class Trees(Section):
    """The page of all annotated trees, for the target `trees`."""

    prm_values: bool = Field(True, description="whether a PRM reads all trees (on a device); false: MC values alone")
    variant: Name | None = Field(
        None, description="the PRM whose values stand beside MC values; null: the first variant"
    )


class Audit(Section):
    """The page on which people judge a sample of the run, for the target `audit`."""

    steps: int = Field(120, ge=0, description="labelled steps to judge, evenly of each range of MC values")
    verdicts: int = Field(40, ge=0, description="graded answers of benchmarks' candidates, evenly of each method")
    refusals: int = Field(40, ge=0, description="problems that curation refused, evenly of each reason")


class DataCard(Section):
    """data_card.md, and its part of the report."""

    language: list[str] = Field(["en"], description="of the problems, as codes such as en or zh")
    examples: int = Field(3, ge=0, description="kept problems to show, and as many refused ones of each stage")
