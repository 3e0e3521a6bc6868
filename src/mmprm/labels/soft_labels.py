"""The column `soft` of schemas.PATHS, which variants of the label `soft` learn. In: a path's counts. Out: MC values.

The soft label of a step is its MC value, correct rollouts / rollouts (MM-PRM, arXiv 2505.13427); that of an answer is
its verdict.
"""

from collections import Counter

from mmprm.labels.evidence import Row

BELOW_MINIMUM = "soft labels below min_rollouts"


def soft_labels(labels: Row, min_rollouts: int, changes: Counter[str]) -> list[float | None]:
    """Return the soft label of each marker of a path, None where there is none.

    labels: the columns of `Evidence.label`. A step with fewer than min_rollouts has no soft label; `changes` counts
    these.
    """
    values: list[float | None] = []
    columns = (labels["n_correct"], labels["n_rollouts"], labels["label_source"])
    for n_correct, n_rollouts, source in zip(*columns, strict=True):
        if source != "answer" and 0 < (n_rollouts or 0) < min_rollouts:
            changes[BELOW_MINIMUM] += 1
            values.append(None)
        else:
            values.append(n_correct / n_rollouts if n_rollouts else None)
    return values
