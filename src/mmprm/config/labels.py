"""From trees to labelled step paths, and further sets of labels. In: YAML values. Out: sections."""

from typing import Any

from pydantic import Field, model_validator

from mmprm.config.experiments import Consensus
from mmprm.config.section import NO_RESULT, Name, Section, Share


class LabelSet(Section):
    """Which paths of the trees are taken, and with which soft labels.

    From outcome_steps on the keys change the split train alone; from min_self_confidence on they are experiments.
    """

    max_paths_per_problem: int | None = Field(None, ge=1, description="take at most so many paths; null: all")
    max_positive_ratio: float | None = Field(
        1.0, gt=0, description="positive paths a problem for each negative one; null keeps all"
    )
    max_outcome_ratio: float = Field(
        1.0, ge=0, description="wrong whole solutions, labelled at the answer alone, for each positive path"
    )
    outcome_steps: bool = Field(
        False,
        description="label the steps of wrong whole solutions too: what is known of them, and 0 behind a state that is "
        "wrong, so that the PRM sees steps after an error",
    )
    min_rollouts: int = Field(1, ge=1, description="a step with fewer has no soft label")
    min_self_confidence: Share = Field(
        0, description="leave out problems with a lower pass rate, MC of the question (SCAN)"
    )
    tolerance: int | None = Field(
        None, ge=0, description="steps before the located error that keep their MC value; those before are 1 (SCAN)"
    )
    reweight: bool = Field(False, description="MC values divided by the problem's pass rate, at most 1 (SCAN)")
    keep_ratio: float | None = Field(
        None, gt=0, le=1, description="share of each source's paths kept, by Balanced-Information Score; null keeps all"
    )
    bis_smoothing: float = Field(0.05, gt=0, description="a of the Balanced-Information Score")

    @model_validator(mode="before")
    @classmethod
    def _no_pooled_counts(cls, values: Any) -> Any:
        if isinstance(values, dict) and "pooled_counts" in values:
            raise ValueError(
                "pooled_counts is no more: it added rollouts of shorter states, and a state is probed because a wrong "
                "one of these passed through it, so that its MC values were 30 to 45 points too low; remove the key"
            )
        return values


class Labels(LabelSet):
    """The run's own labels, and further sets of them for PRM variants that name one."""

    dev_share: Share = Field(0.1, description="share of the problems held out for development")
    extra: list[str] = Field([], description="keys of step_data whose paths are trained on beside the run's own")
    consensus: Consensus | None = Field(
        None,
        description="a model that must find each path's first error where the labels have it; null: no filter",
        json_schema_extra=NO_RESULT,  # it filters what is gathered in a rule of its own
    )
    sets: dict[Name, LabelSet] = Field(
        {},
        description="by name, the keys that override those above; held-out paths and `extra` stay. No consensus",
        json_schema_extra=NO_RESULT,  # each is gathered by itself
    )

    @model_validator(mode="before")
    @classmethod
    def _sets_override_the_run(cls, values: Any) -> Any:
        sets = values.get("sets") if isinstance(values, dict) else None
        if not isinstance(sets, dict):
            return values
        base = {key: value for key, value in values.items() if key in LabelSet.model_fields}
        merged = {name: base | given if isinstance(given, dict) else given for name, given in sets.items()}
        return values | {"sets": merged}

    def of(self, name: str | None) -> LabelSet:
        """Return the set of this name, or the run's own labels for None."""
        return self if name is None else self.sets[name]

    def changed(self, name: str) -> dict[str, Any]:
        """Return the keys of a set that differ from the run's own labels."""
        keys = LabelSet.model_fields
        return {key: value for key in keys if (value := getattr(self.sets[name], key)) != getattr(self, key)}
