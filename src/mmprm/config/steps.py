"""The configuration's step benchmarks. In and out: pydantic models. Part of `config`, which is what loads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from mmprm.config.section import Section


class StepTest(Section):
    """Labelled solutions on which a PRM's verdicts of steps are measured. A step is called wrong below the threshold.

    Without a threshold and a development set it is itself a development set: its threshold is chosen on its own paths,
    and its numbers are no evidence.
    """

    problems: str = Field(description="a problem table; <results> stands for the folder of the run")
    paths: str = Field(description="labelled step paths of these problems, in the form of labels/paths.parquet")
    split: str | None = Field(None, description="only paths of this split; null: all")
    metric: Literal["first_error", "macro_f1"] = Field(
        "macro_f1",
        description="first_error: F1 of finding the first wrong step (ProcessBench); macro_f1: of right and wrong "
        "steps (VisualProcessBench, PRMBench)",
    )
    development: str | None = Field(None, description="the step benchmark on which the threshold is chosen")
    threshold: float | None = Field(None, ge=0, le=1, description="a threshold that was fixed beforehand")

    @model_validator(mode="after")
    def _one_threshold(self) -> StepTest:
        if self.development is not None and self.threshold is not None:
            raise ValueError("threshold: give either a threshold or a development set, not both")
        return self

    @property
    def is_development(self) -> bool:
        """Is its threshold chosen on its own paths?"""
        return self.development is None and self.threshold is None


def check_step_tests(tests: Mapping[str, StepTest]) -> None:
    """ValueError where a development set is missing, is measured with a threshold from elsewhere, or is the test."""
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
