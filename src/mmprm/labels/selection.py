"""Which paths are kept. In: the paths of a problem, or rows of schemas.PATHS. Out: fewer of them.

All choices are by value and by hash, so that they depend on neither shards nor any order.
"""

import hashlib
from collections import Counter
from itertools import zip_longest

from mmprm.config.labels import LabelSet
from mmprm.labels.evidence import StepPath


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
) -> list[StepPath]:
    """Choose at most max_positive_ratio positive paths for each negative one, and max_paths_per_problem in all.

    Outcome paths bring the wrong answers up to max_outcome_ratio for each right one. The choice is by hash, and takes
    texts that differ by more than case and spaces first. Under the limit on all paths the kinds are taken in turn, so
    that they keep their shares as far as possible.
    """
    positives, negatives = _shuffled(problem_id, positives), _shuffled(problem_id, negatives)
    if settings.max_positive_ratio is not None:
        positives = positives[: int(settings.max_positive_ratio * len(negatives) + 1e-9)]
    answered = {(path.steps, path.answer) for path in negatives}
    wrong_answers = sum(path.answer is not None for path in negatives)
    room = max(0, int(settings.max_outcome_ratio * len(positives) + 1e-9) - wrong_answers)
    outcomes = [path for path in _shuffled(problem_id, outcomes) if (path.steps, path.answer) not in answered][:room]
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
