"""Which paths are kept. In: the paths of a problem, or rows of schemas.PATHS. Out: fewer of them.

All choices are by value and by hash, so that neither shards nor the order of anything shows in them.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from mmprm.config.labels import LabelSet
from mmprm.labels.evidence import Row, StepPath


def path_id(problem_id: str, path: StepPath) -> str:
    """A stable hash of the path."""
    parts = [problem_id, path.kind, *path.steps, "\x1e", path.answer or ""]
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


def in_dev(seed: int, problem_id: str, share: float) -> bool:
    """Is the problem held out? By a hash, so that all its paths fall on one side, whatever else there is."""
    digest = hashlib.sha256(f"{seed}\x1fsplit\x1f{problem_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def choose(
    problem_id: str,
    positives: list[StepPath],
    negatives: list[StepPath],
    outcomes: list[StepPath],
    settings: LabelSet,
) -> list[StepPath]:
    """At most max_positive_ratio positive paths for each negative one, and max_paths_per_problem in all.

    Outcome paths bring the wrong answers up to max_outcome_ratio for each right one. The choice is by hash, and takes
    texts that differ by more than case and spaces first. Under the limit on all paths the kinds keep their shares as
    far as they can: they are taken in turn.
    """
    positives, negatives = _mixed(problem_id, positives), _mixed(problem_id, negatives)
    if settings.max_positive_ratio is not None:
        positives = positives[: int(settings.max_positive_ratio * len(negatives) + 1e-9)]
    answered = {(path.steps, path.answer) for path in negatives}
    wrong_answers = sum(path.answer is not None for path in negatives)
    room = max(0, int(settings.max_outcome_ratio * len(positives) + 1e-9) - wrong_answers)
    outcomes = [path for path in _mixed(problem_id, outcomes) if (path.steps, path.answer) not in answered][:room]
    turns = [path for turn in zip_longest(negatives, positives, outcomes) for path in turn if path is not None]
    return turns[: settings.max_paths_per_problem]


def _mixed(problem_id: str, paths: list[StepPath]) -> list[StepPath]:
    """In the order of their hashes, paths with a text like one before last."""
    seen: Counter[str] = Counter()
    ranked = []
    for path in sorted(paths, key=lambda path: path_id(problem_id, path)):
        text = " ".join("\n".join((*path.steps, path.answer or "")).casefold().split())
        ranked.append((seen[text], path))
        seen[text] += 1
    return [path for _, path in sorted(ranked, key=lambda pair: pair[0])]


def balanced_information(scores: Sequence[float], smoothing: float) -> float:
    """BIS of a path with these MC scores, (p (1 - p) + a) R (arXiv 2602.04145, section 4).

    p: the share of steps with a score above 0; R: the mean score of these, 1 where there are none; a: `smoothing`.
    A path without a score has p = 0.
    """
    positive = [score for score in scores if score > 0]
    p = len(positive) / len(scores) if scores else 0.0
    reliability = math.fsum(positive) / len(positive) if positive else 1.0
    return (p * (1 - p) + smoothing) * reliability


class Informative:
    """The share `keep` (rounded up) of each source's paths with the highest BIS over their counted markers.

    All paths are seen first (`see`), and then told apart (`keeps`): 16 bytes a path are in memory in between.
    """

    def __init__(self, keep: float, smoothing: float) -> None:
        self._keep, self._smoothing = keep, smoothing
        self._seen: dict[str, tuple[array[float], array[int]]] = defaultdict(lambda: (array("d"), array("Q")))
        self._last: dict[str, tuple[float, int]] = {}

    def see(self, row: Row) -> None:
        """A row of schemas.PATHS that is ranked within its source."""
        scores, names = self._seen[row["source"]]
        score, name = self._rank(row)
        scores.append(score)
        names.append(name)

    def _rank(self, row: Row) -> tuple[float, int]:
        counts = zip(row["n_correct"], row["n_rollouts"], strict=True)
        scores = [right / n for right, n in counts if n]
        return -balanced_information(scores, self._smoothing), int(row["path_id"], 16)

    def keeps(self, row: Row) -> bool:
        """Is it one of those kept? Of rows that were seen."""
        source = row["source"]
        if source not in self._last:
            scores, names = (np.asarray(values) for values in self._seen[source])
            order = np.lexsort((names, scores))
            last = order[math.ceil(self._keep * len(order) - 1e-9) - 1]
            self._last[source] = (float(scores[last]), int(names[last]))
        return self._rank(row) <= self._last[source]
