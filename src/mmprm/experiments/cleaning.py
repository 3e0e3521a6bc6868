"""Methods that clean Monte-Carlo labels of the split train (`labels` of the configuration). In: trees. Out: labels.

- min_self_confidence, tolerance, reweight: SCAN (arXiv 2509.16548). An MC value is low where the policy is weak on the
  whole problem, and an error is located too late where the policy repairs it
- keep_ratio: the paths with the highest Balanced-Information Score (arXiv 2602.04145, section 4)
"""

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from mmprm.config.labels import LabelSet
from mmprm.labels.cleaning import Cleaning
from mmprm.labels.evidence import Evidence, Row, StepPath

_UNSURE_PROBLEMS, _UNSURE_PATHS = "problems below min_self_confidence", "paths of these problems"
_TOLERATED, _REWEIGHTED = "soft labels set to 1 beyond the tolerance", "soft labels reweighted"
_UNINFORMATIVE = "paths beyond keep_ratio"


class ExperimentalCleaning(Cleaning):
    """Applies the switches of `LabelSet` that are experiments."""

    def __init__(self, settings: LabelSet) -> None:
        super().__init__(settings)
        keep = settings.keep_ratio
        self._ranking = None if keep is None else InformationRanking(keep, settings.bis_smoothing)

    def counted(self) -> dict[str, bool]:
        """Name what may be changed, in the order of the statistics, and whether its switch is on."""
        settings = self.settings
        return {
            **super().counted(),
            _UNSURE_PROBLEMS: settings.min_self_confidence > 0,
            _UNSURE_PATHS: settings.min_self_confidence > 0,
            _TOLERATED: settings.tolerance is not None,
            _REWEIGHTED: settings.reweight,
            _UNINFORMATIVE: settings.keep_ratio is not None,
        }

    def keeps_problem(self, evidence: Evidence, paths: list[StepPath]) -> bool:
        """Drop a problem whose pass rate is below min_self_confidence (SCAN); one without a verdict has 0."""
        if (evidence.self_confidence or 0) >= self.settings.min_self_confidence:
            return True
        self.changes[_UNSURE_PROBLEMS] += 1
        self.changes[_UNSURE_PATHS] += len(paths)
        return False

    def soft_labels(self, evidence: Evidence, path: StepPath, labels: Row) -> list[float | None]:
        """Make the soft labels of a path, with reweighting and tolerance of SCAN; verdicts of answers stay."""
        values = super().soft_labels(evidence, path, labels)
        return scan(path.kind, values, labels["label_source"], evidence.self_confidence, self.settings, self.changes)

    def see(self, row: Row) -> None:
        """Rank a labelled path by its Balanced-Information Score."""
        if self._ranking is not None:
            self._ranking.see(row)

    def select(self, paths: pa.Table) -> pa.Table:
        """Keep the share keep_ratio of each source with the highest scores, and all held-out paths."""
        if self._ranking is None:
            return paths
        keep = [row["split"] == "dev" or self._ranking.keeps(row) for row in paths.to_pylist()]
        self.changes[_UNINFORMATIVE] += keep.count(False)
        return paths.filter(pa.array(keep, pa.bool_()))


def scan(
    kind: str,
    values: list[float | None],
    sources: Sequence[str],
    confidence: float | None,
    settings: LabelSet,
    changes: Counter[str],
) -> list[float | None]:
    """Change the soft labels of the steps of a path as SCAN does (arXiv 2509.16548); `changes` counts what was changed.

    confidence: the policy's pass rate on the problem.

    - reweight: a step's MC value is divided by the confidence, and is at most 1;
    - tolerance d: steps more than d before the located error are 1, as are all steps of a right solution; the d before
      it keep their MC values (where they have one), and the error is 0.
    """
    values = list(values)
    last = len(values) - 1  # where a negative path has its error
    for index, (value, source) in enumerate(zip(values, sources, strict=True)):
        if source == "answer":
            continue
        if settings.reweight and value and confidence:
            values[index] = min(1.0, value / confidence)
            changes[_REWEIGHTED] += values[index] != value
        if settings.tolerance is not None and kind != "outcome":
            if kind == "positive" or index < last - settings.tolerance:
                changes[_TOLERATED] += values[index] != 1
                values[index] = 1.0
            elif index == last:
                values[index] = 0.0
    return values


def balanced_information(scores: Sequence[float], smoothing: float) -> float:
    """BIS of a path with these MC scores, (p (1 - p) + a) R (arXiv 2602.04145, section 4).

    p: the share of steps with a score above 0; R: the mean score of these, 1 where there are none; a: `smoothing`.
    A path without a score has p = 0.
    """
    positive = [score for score in scores if score > 0]
    p = len(positive) / len(scores) if scores else 0.0
    reliability = math.fsum(positive) / len(positive) if positive else 1.0
    return (p * (1 - p) + smoothing) * reliability


class InformationRanking:
    """The share `keep` (rounded up) of each source's paths with the highest BIS over their counted markers.

    All paths are seen first (`see`), and then told apart (`keeps`): 16 bytes a path are in memory in between.
    """

    def __init__(self, keep: float, smoothing: float) -> None:
        self._keep, self._smoothing = keep, smoothing
        self._seen: dict[str, tuple[array[float], array[int]]] = defaultdict(lambda: (array("d"), array("Q")))
        self._last: dict[str, tuple[float, int]] = {}

    def see(self, row: Row) -> None:
        """Rank a row of schemas.PATHS within its source."""
        scores, ids = self._seen[row["source"]]
        score, path_id = self._rank(row)
        scores.append(score)
        ids.append(path_id)

    def _rank(self, row: Row) -> tuple[float, int]:
        counts = zip(row["n_correct"], row["n_rollouts"], strict=True)
        scores = [right / n for right, n in counts if n]
        return -balanced_information(scores, self._smoothing), int(row["path_id"], 16)

    def keeps(self, row: Row) -> bool:
        """Decide whether a row that was seen is among those kept."""
        source = row["source"]
        if source not in self._last:
            scores, ids = (np.asarray(values) for values in self._seen[source])
            order = np.lexsort((ids, scores))
            last = order[math.ceil(self._keep * len(order) - 1e-9) - 1]
            self._last[source] = (float(scores[last]), int(ids[last]))
        return self._rank(row) <= self._last[source]
