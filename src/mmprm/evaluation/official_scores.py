"""The scores that DynaMath and We-Math report beside accuracy. In: accuracies of problems. Out: scores in [0, 1].

Both take several problems as one: the variants of a question, a problem and its steps. What is right of each is here an
expectation (over the candidates that a rule may choose), and the problems of one unit are answered independently, so
that the expected share of units that are right in every one of them is the mean of the products. At the largest N,
where a rule's choice is certain, these are the official counts.

- DynaMath (arXiv 2411.00836, section 3.3): worst_case, right in every variant; average, the plain accuracy
- We-Math (arXiv 2407.01284, section 2.3), of problems whose steps are all there: insufficient_knowledge and
  inadequate_generalization (the problem wrong; a step wrong, or none), complete_mastery and rote_memorization (the
  problem right; strict: all steps right, or not; loose: any step right, or none), and score = complete_mastery +
  0.5 inadequate_generalization
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

Units = Mapping[str, Mapping[str, float]]  # unit -> its part -> expected accuracy
KINDS = ("dynamath", "we_math")  # kinds of sources


def official_scores(kind: str, ids: Sequence[str], accuracies: np.ndarray) -> dict[str, np.ndarray]:
    """Return score -> a value for each unit, whose mean is the score; empty for other kinds of sources.

    ids: of the problems, `source/unit/part` as the adapters make them; accuracies: shape (problems,).
    """
    if kind not in KINDS:
        return {}
    units: dict[str, dict[str, float]] = defaultdict(dict)
    for name, accuracy in zip(ids, accuracies.tolist(), strict=True):
        unit, _, part = name.rpartition("/")
        units[unit][part] = accuracy
    return _dynamath(units) if kind == "dynamath" else _we_math(units)


def _dynamath(units: Units) -> dict[str, np.ndarray]:
    variants = [np.array(list(unit.values())) for unit in units.values()]
    return {
        "worst_case": np.array([unit.prod() for unit in variants]),
        "average": np.array([unit.mean() for unit in variants]),
    }


def _we_math(units: Units) -> dict[str, np.ndarray]:
    rows = []
    for unit in units.values():
        steps = [accuracy for part, accuracy in sorted(unit.items()) if part != "multi"]
        if "multi" not in unit or len(steps) not in (2, 3) or "1" not in unit:
            continue
        rows.append((unit["multi"], float(np.prod(steps)), 1 - float(np.prod(1 - np.array(steps)))))
    multi, every, some = np.array(rows, dtype=float).reshape(-1, 3).T
    generalization = every * (1 - multi)
    return {
        "insufficient_knowledge": (1 - every) * (1 - multi),
        "inadequate_generalization": generalization,
        "complete_mastery_strict": every * multi,
        "complete_mastery_loose": some * multi,
        "rote_memorization_strict": (1 - every) * multi,
        "rote_memorization_loose": (1 - some) * multi,
        "score_strict": every * multi + 0.5 * generalization,
        "score_loose": some * multi + 0.5 * generalization,
    }
