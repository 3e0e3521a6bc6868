"""The column `soft` of schemas.PATHS, which `soft` variants learn. In: the counts of a path. Out: values, or None.

As it is, the MC value of a probed step, and the verdict of an answer. The switches of `labels` that change it come from
SCAN (arXiv 2509.16548): an MC value is low where the policy is weak on the whole problem, and an error is located too
late where the policy repairs it.
"""

from __future__ import annotations

from collections import Counter

from mmprm.config.labels import LabelSet
from mmprm.labels.evidence import Row

Changes = Counter[str]

BELOW_MINIMUM = "soft labels below min_rollouts"
REWEIGHTED = "soft labels reweighted"
TOLERATED = "soft labels set to 1 beyond the tolerance"


def soft_labels(
    kind: str, labels: Row, confidence: float | None, settings: LabelSet, changes: Changes
) -> list[float | None]:
    """The soft label of each marker of a path of the kind, None where there is none; `changes` counts what was changed.

    labels: the columns of `Evidence.label`; confidence: the policy's pass rate on the problem.

    - min_rollouts: a step of fewer rollouts has none;
    - reweight: a step's MC value is divided by the confidence, and is at most 1;
    - tolerance d: steps more than d before the located error are 1, as are all steps of a right solution; the d before
      it keep their MC values (where they have one), and the error is 0.
    """
    found: list[float | None] = []
    last = len(labels["hard"]) - 1  # where a negative path has its error
    columns = (labels["n_correct"], labels["n_rollouts"], labels["label_source"])
    for place, (n_correct, n_rollouts, source) in enumerate(zip(*columns, strict=True)):
        value = n_correct / n_rollouts if n_rollouts else None
        if source == "answer":
            found.append(value)
            continue
        if value is not None and n_rollouts < settings.min_rollouts:
            value = None
            changes[BELOW_MINIMUM] += 1
        if settings.reweight and value and confidence:
            weighed = min(1.0, value / confidence)
            changes[REWEIGHTED] += weighed != value
            value = weighed
        if settings.tolerance is not None and kind != "outcome":
            if kind == "positive" or place < last - settings.tolerance:
                changes[TOLERATED] += value != 1
                value = 1.0
            elif place == last:
                value = 0.0
        found.append(value)
    return found
