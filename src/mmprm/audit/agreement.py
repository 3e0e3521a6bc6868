"""How far people agree with a run and with each other. In: marks. Out: kappas, precision and recall, with intervals.

Cohen's kappa (1960, doi:10.1177/001316446002000104) is the agreement beyond what two raters with these frequencies
have by chance. Of two people it is taken over right, wrong and unclear; of people and the run over what is right or
wrong, since the run knows no unclear. Precision and recall of "wrong" take each item for as many as it stands for in
the population, because a sample has as many of rare kinds as of frequent ones. Intervals are of the BCa bootstrap over
problems; an item that several people judged counts as the mean of them.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from mmprm.audit.marks import CLAIMS, KINDS, MARKS, Mark
from mmprm.evaluation.intervals import bootstrap, grouped

Row = dict[str, Any]
RESAMPLES = 10_000


def agreement(marks: Sequence[Mark], confidence: float = 0.95, seed: int = 0, resamples: int = RESAMPLES) -> list[Row]:
    """Return for each kind of item that was marked: {kind, items, raters, marks, with_run, between, strata}.

    with_run: {kappa, agree, precision, recall} of the run's claims, by people's marks; between: for each pair of people
    {raters, items, kappa, agree}; each is {value, ci_low, ci_high, count}, None where it is not defined. strata: for
    each stratum {stratum, items, agree}. marks: how often each mark was given.
    """
    settings = (confidence, seed, resamples)
    found = []
    for kind in KINDS:
        own = [mark for mark in marks if mark.kind == kind]
        if own:
            found.append(
                {
                    "kind": kind,
                    "items": len({mark.item for mark in own}),
                    "raters": sorted({mark.rater for mark in own}),
                    "marks": {name: sum(mark.mark == name for mark in own) for name in MARKS},
                    "with_run": _with_run(own, *settings),
                    "between": _between(own, *settings),
                    "strata": _strata(own),
                }
            )
    return found


def kappa(table: np.ndarray) -> np.ndarray:
    """Compute Cohen's kappa of tables of counts (..., k, k); NaN where chance alone agrees fully."""
    total = table.sum((-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = np.trace(table, axis1=-2, axis2=-1) / total
        chance = (table.sum(-1) * table.sum(-2)).sum(-1) / total**2
        value: np.ndarray = np.where(chance < 1, (observed - chance) / (1 - chance), np.nan)
    return value


def _with_run(marks: Sequence[Mark], confidence: float, seed: int, resamples: int) -> Row:
    """Compare the run's claims with people's marks of right or wrong."""
    judged = [mark for mark in marks if mark.mark in CLAIMS]
    if not judged:
        return dict.fromkeys(("kappa", "agree", "precision", "recall"))
    times = Counter(mark.item for mark in judged)
    rows = []
    for mark in judged:  # counts of (claim, mark), plain and weighted
        cell = np.zeros((2, 2))
        cell[CLAIMS.index(mark.claim), CLAIMS.index(mark.mark)] = 1 / times[mark.item]
        rows.append(np.concatenate([cell.ravel(), mark.weight * cell.ravel()]))
    totals = grouped(np.array(rows), [mark.problem_id for mark in judged])

    def measures(sums: np.ndarray) -> np.ndarray:
        plain, weighted = (sums[..., start : start + 4].reshape(*sums.shape[:-1], 2, 2) for start in (0, 4))
        agree = np.trace(weighted, axis1=-2, axis2=-1) / weighted.sum((-2, -1))
        both = weighted[..., 1, 1]
        return np.stack(
            [kappa(plain), agree, both / weighted[..., 1, :].sum(-1), both / weighted[..., :, 1].sum(-1)], -1
        )

    return _measured(
        totals, measures, ("kappa", "agree", "precision", "recall"), len(times), confidence, seed, resamples
    )


def _between(marks: Sequence[Mark], confidence: float, seed: int, resamples: int) -> list[Row]:
    """Compare each pair of people on the items that both judged."""
    by_rater: dict[str, dict[str, Mark]] = defaultdict(dict)
    for mark in marks:
        by_rater[mark.rater][mark.item] = mark
    pairs = []
    for first, second in combinations(sorted(by_rater), 2):
        shared = sorted(set(by_rater[first]) & set(by_rater[second]))
        if not shared:
            continue
        rows = []
        for item in shared:
            cell = np.zeros((3, 3))
            cell[MARKS.index(by_rater[first][item].mark), MARKS.index(by_rater[second][item].mark)] = 1
            rows.append(cell.ravel())
        totals = grouped(np.array(rows), [by_rater[first][item].problem_id for item in shared])

        def measures(sums: np.ndarray) -> np.ndarray:
            table = sums.reshape(*sums.shape[:-1], 3, 3)
            return np.stack([kappa(table), np.trace(table, axis1=-2, axis2=-1) / table.sum((-2, -1))], -1)

        values = _measured(totals, measures, ("kappa", "agree"), len(shared), confidence, seed, resamples)
        pairs.append({"raters": [first, second], "items": len(shared), **values})
    return pairs


def _measured(
    totals: np.ndarray, statistic: Any, names: Sequence[str], count: int, confidence: float, seed: int, resamples: int
) -> Row:
    values, low, high = bootstrap(totals, statistic, confidence, resamples, seed)
    rows = zip(names, values, low, high, strict=True)
    return {
        name: None
        if math.isnan(value)
        else {"value": float(value), "ci_low": _known(start), "ci_high": _known(end), "count": count}
        for name, value, start, end in rows
    }


def _known(end: float) -> float | None:
    return None if math.isnan(end) else float(end)


def _strata(marks: Sequence[Mark]) -> list[Row]:
    """Count how often people agree with the run in each stratum, unclear marks left out."""
    judged = [mark for mark in marks if mark.mark in CLAIMS]
    by_stratum: dict[str, list[bool]] = defaultdict(list)
    for mark in judged:
        by_stratum[mark.stratum].append(mark.mark == mark.claim)
    return [
        {"stratum": name, "items": len(same), "agree": sum(same) / len(same)}
        for name, same in sorted(by_stratum.items())
    ]
