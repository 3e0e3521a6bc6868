"""A problem's candidates as their page shows them, and what strategies chose. In: scored candidates. Out: values.

An item is {id, question, choices, answer, images, strategies, votes, candidates}. A strategy is {name, primary,
answers, candidates, right}: tied choices are all named, and `right` is the share of these that are right. A vote is
{answer, count, weight, right}. A candidate is {number, verdict, method, status, answer, steps or text, prm, truth,
score, weight, chosen_by}.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmprm.data.problem import Problem
from mmprm.evaluation import votes
from mmprm.evaluation.aggregates import AGGREGATES
from mmprm.evaluation.candidates import Candidates, candidates_of, was_skipped
from mmprm.evaluation.selection_rules import weight_of
from mmprm.pages.kit import Row
from mmprm.pages.problem_view import StepTruth, about, view
from mmprm.report.templates import shorten

_MAX_TEXT = 4000  # characters of a candidate that did not parse
VOTE = "majority"


def candidate_item(problem: Problem, rows: Sequence[Row], primary: str) -> Row:
    """Return the item of a problem; rows: its candidates with `probabilities`; primary: the aggregate that counts."""
    counted = [row for row in rows if row["verdict"] != "undecided" and not was_skipped(row)]
    arrays = candidates_of(problem, rows)
    strategies = _strategies(arrays, counted, primary) if arrays else []
    truth_of = StepTruth(problem)
    chosen: dict[int, list[str]] = defaultdict(list)
    for strategy in strategies:
        for number in strategy["candidates"]:
            chosen[number].append(strategy["name"])
    numbers = [row["candidate"] for row in counted]
    scores, weights = (
        dict(zip(numbers, arrays.scores[name], strict=True)) if arrays else {} for name in (primary, weight_of(primary))
    )
    shown = [
        {
            "number": row["candidate"],
            **{name: row[name] for name in ("verdict", "method", "status", "answer")},
            **({"steps": row["steps"]} if row["status"] == "ok" else {"text": shorten(row["text"] or "", _MAX_TEXT)}),
            "prm": [round(value, 4) for value in row["probabilities"]],
            "truth": truth_of(row["steps"]) if row["status"] == "ok" else [],
            "score": _finite(scores.get(row["candidate"])),
            "weight": _finite(weights.get(row["candidate"])),
            "chosen_by": chosen[row["candidate"]],
        }
        for row in rows
    ]
    shown.sort(key=lambda row: (row["score"] is None, -(row["score"] or 0.0), row["number"]))
    return {
        "id": problem.problem_id,
        **view(problem),
        "strategies": strategies,
        "votes": _votes(arrays, counted, primary) if arrays else [],
        "candidates": shown,
    }


def candidate_row(item: Row, problem: Problem) -> Row:
    """Return what the list says of a problem: how many candidates are right, and whether the strategies chose one.

    prm, vote, weighted: the share of the strategy's (tied) choices that are right, None without a choice. surely: the
    mean P(yes) of the PRM's choice if it is wrong, less that of the best right candidate where there is one.
    """
    candidates: list[Row] = item["candidates"]
    by_name = {strategy["name"]: strategy for strategy in item["strategies"]}
    prm = next((strategy for strategy in item["strategies"] if strategy["primary"]), None)
    weighted = next((one for name, one in by_name.items() if name.startswith(f"{VOTE}, weighted")), None)
    surely = None
    if prm and prm["candidates"] and prm["right"] < 1:
        picked = [row for row in candidates if row["number"] in prm["candidates"] and row["verdict"] != "correct"]
        right = [row["weight"] for row in candidates if row["verdict"] == "correct" and row["weight"] is not None]
        surely = max(row["weight"] or 0.0 for row in picked) - max(right, default=0.0)
    return {
        "id": item["id"],
        **about(problem),
        "candidates": len(candidates),
        "right": sum(row["verdict"] == "correct" for row in candidates),
        "undecided": sum(row["verdict"] == "undecided" for row in candidates),
        "unparsed": sum(row["status"] != "ok" for row in candidates),
        "prm": prm and prm["right"],
        "vote": by_name[VOTE]["right"] if VOTE in by_name else None,
        "weighted": weighted and weighted["right"],
        "surely": surely,
    }


def _strategies(arrays: Candidates, counted: Sequence[Row], primary: str) -> list[Row]:
    """List the PRM's choice by the primary aggregate, the votes, and the choices by the other aggregates."""
    by = {name: _best(arrays.scores[name]) for name in (primary, *(name for name in AGGREGATES if name != primary))}
    weight = weight_of(primary)
    voted = {VOTE: np.ones(arrays.size), f"{VOTE}, weighted by {weight}": arrays.scores[weight]}
    chosen = [(f"PRM, {primary}", True, by.pop(primary))]
    chosen += [(name, False, _elected(arrays, weights)) for name, weights in voted.items()]
    chosen += [(f"PRM, {name}", False, places) for name, places in by.items()]
    return [
        {
            "name": name,
            "primary": is_primary,
            "answers": list(dict.fromkeys(str(counted[place]["answer"]) for place in places)),
            "candidates": [counted[place]["candidate"] for place in places],
            "right": _share_right(arrays, places, name.startswith(VOTE)),
        }
        for name, is_primary, places in chosen
    ]


def _best(scores: np.ndarray) -> list[int]:
    """Return the places of the highest score, of all that have it; none where nothing has a score."""
    return np.flatnonzero(scores == scores.max()).tolist() if np.isfinite(scores).any() else []


def _elected(arrays: Candidates, weights: np.ndarray) -> list[int]:
    """Return the places of the candidates whose answer has the largest sum of weights; of tied answers all."""
    sums: dict[str, float] = defaultdict(float)
    for key, weight in zip(arrays.keys, weights, strict=True):
        if key is not None and math.isfinite(weight):
            sums[key] += weight
    most = max(sums.values(), default=0.0)
    winners = {key for key, total in sums.items() if total >= most * (1 - 1e-12)}
    return [place for place, key in enumerate(arrays.keys) if key in winners]


def _share_right(arrays: Candidates, places: Sequence[int], by_answer: bool) -> float | None:
    """Return the share of the choices that are right: of the candidates, or of a vote of their answers."""
    if not places:
        return None
    if not by_answer:
        return float(arrays.correct[places].mean())
    answers = {arrays.keys[place] for place in places}
    return float(votes.RIGHT in answers) / len(answers)


def _votes(arrays: Candidates, counted: Sequence[Row], primary: str) -> list[Row]:
    """List the answers, the most frequent first: how many candidates gave each, and the sum of their weights."""
    found: dict[str, dict[str, Any]] = {}
    for key, row, weight in zip(arrays.keys, counted, arrays.scores[weight_of(primary)], strict=True):
        if key is not None:
            entry = found.setdefault(
                key, {"answer": row["answer"], "count": 0, "weight": 0.0, "right": key == votes.RIGHT}
            )
            entry["count"] += 1
            entry["weight"] += float(weight) if math.isfinite(weight) else 0.0
    return sorted(found.values(), key=lambda entry: (-entry["count"], -entry["weight"]))


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
