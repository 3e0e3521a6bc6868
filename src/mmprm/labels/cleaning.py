"""What may be changed between a tree and the labels of its problem. In: evidence and paths. Out: the same, or fewer.

`Cleaning` is the plain case: MC values as they are, and every path is kept. `mmprm.experiments.cleaning` has methods
that change more; `gather_labels` takes either. Held-out problems always get the plain case, so that PRMs of different
settings are measured on the same labels.
"""

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa

from mmprm.config.labels import LabelSet
from mmprm.labels.evidence import Evidence, Row, StepPath
from mmprm.labels.soft_labels import BELOW_MINIMUM, soft_labels


class Cleaning:
    """Labels by the settings, and counts in `changes` what each switch that is on has changed (0 at first)."""

    def __init__(self, settings: LabelSet) -> None:
        self.settings = settings
        self.changes = Counter({name: 0 for name, is_on in self.counted().items() if is_on})

    def counted(self) -> dict[str, bool]:
        """Name what may be changed, in the order of the statistics, and whether its switch is on."""
        return {BELOW_MINIMUM: self.settings.min_rollouts > 1}

    def evidence(self, nodes: Iterable[Row], rollouts: Iterable[Row]) -> Evidence:
        """Read what a tree says about the states of its problem."""
        return Evidence(nodes, rollouts)

    def keeps_problem(self, evidence: Evidence, paths: list[StepPath]) -> bool:
        """Decide whether these paths of a problem are used at all."""
        return True

    def soft_labels(self, evidence: Evidence, path: StepPath, labels: Row) -> list[float | None]:
        """Make the soft labels of a path; labels: the columns of `Evidence.label`."""
        return soft_labels(labels, self.settings.min_rollouts, self.changes)

    def see(self, row: Row) -> None:
        """Take note of a labelled path, before any call of `select`."""

    def select(self, paths: pa.Table) -> pa.Table:
        """Choose among the paths of a problem (schemas.PATHS), now that all problems were seen."""
        return paths
