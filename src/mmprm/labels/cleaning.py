"""How paths and labels are made of a tree, and which are kept. In: evidence and paths. Out: the same, or fewer.

`Cleaning` is the plain case: MC values as they are, and every path is kept. `mmprm.experiments.cleaning` has methods
that change more; `gather_labels` takes either. Held-out problems always get the plain case, so that PRMs of different
settings are measured on the same labels. All choices are by value and by hash: they depend on neither shards nor order.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import zip_longest

import pyarrow as pa

from mmprm.config.labels import LabelSet
from mmprm.labels.evidence import Evidence, Row, StepPath

BELOW_MINIMUM = "soft labels below min_rollouts"


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
        return Evidence(nodes, rollouts, self.settings.outcome_steps)

    def keeps_problem(self, evidence: Evidence, paths: list[StepPath]) -> bool:
        """Decide whether these paths of a problem are used at all."""
        return True

    def soft_labels(self, evidence: Evidence, path: StepPath, labels: Row) -> list[float | None]:
        """Return the soft label of each marker of a path, None where there is none or a step has too few rollouts.

        It is the MC value of a step, correct rollouts / rollouts (MM-PRM, arXiv 2505.13427), the verdict of an answer,
        and 0 behind an error. labels: the columns of `Evidence.label`.
        """
        values: list[float | None] = []
        columns = (labels["n_correct"], labels["n_rollouts"], labels["label_source"])
        for n_correct, n_rollouts, source in zip(*columns, strict=True):
            if source != "answer" and 0 < (n_rollouts or 0) < self.settings.min_rollouts:
                self.changes[BELOW_MINIMUM] += 1
                values.append(None)
            elif source == "after_error":
                values.append(0.0)
            else:
                values.append(n_correct / n_rollouts if n_rollouts else None)
        return values

    def see(self, row: Row) -> None:
        """Take note of a labelled path, before any call of `select`."""

    def select(self, paths: pa.Table) -> pa.Table:
        """Choose among the paths of a problem (schemas.PATHS), now that all problems were seen."""
        return paths


def path_id(problem_id: str, path: StepPath) -> str:
    """Return a stable hash of the path."""
    parts = [problem_id, path.kind, *path.steps, "\x1e", path.answer or ""]
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


def in_dev(seed: int, problem_id: str, share: float) -> bool:
    """Decide by a hash whether the problem is held out, so that all its paths are in one split."""
    digest = hashlib.sha256(f"{seed}\x1fsplit\x1f{problem_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def choose(
    problem_id: str,
    positives: list[StepPath],
    negatives: list[StepPath],
    outcomes: list[StepPath],
    settings: LabelSet,
    dense: Callable[[StepPath], bool] = lambda path: False,
) -> list[StepPath]:
    """Choose at most max_positive_ratio positive paths for each negative one, and max_paths_per_problem in all.

    Outcome paths bring the wrong answers up to max_outcome_ratio for each right one. The choice is by hash, and takes
    paths of which every state was probed (`dense`) first, then texts that differ by more than case and spaces. Under
    the limit on all paths the kinds are taken in turn, so that they keep their shares as far as possible.
    """
    positives, negatives = _shuffled(problem_id, positives), _shuffled(problem_id, negatives)
    positives.sort(key=lambda path: not dense(path))
    if settings.max_positive_ratio is not None:
        positives = positives[: int(settings.max_positive_ratio * len(negatives) + 1e-9)]
    answered = {(path.steps, path.answer) for path in negatives}
    wrong_answers = sum(path.answer is not None for path in negatives)
    room = max(0, int(settings.max_outcome_ratio * len(positives) + 1e-9) - wrong_answers)
    outcomes = [path for path in _shuffled(problem_id, outcomes) if (path.steps, path.answer) not in answered]
    outcomes = sorted(outcomes, key=lambda path: not dense(path))[:room]
    turns = [path for turn in zip_longest(negatives, positives, outcomes) for path in turn if path is not None]
    return turns[: settings.max_paths_per_problem]


def _shuffled(problem_id: str, paths: list[StepPath]) -> list[StepPath]:
    """Sort paths by their hashes, those last whose text is like an earlier one."""
    seen: Counter[str] = Counter()
    ranked = []
    for path in sorted(paths, key=lambda path: path_id(problem_id, path)):
        text = " ".join("\n".join((*path.steps, path.answer or "")).casefold().split())
        ranked.append((seen[text], path))
        seen[text] += 1
    return [path for _, path in sorted(ranked, key=lambda pair: pair[0])]
