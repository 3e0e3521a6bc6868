"""A tree as its page shows it. In: a problem's nodes and rollouts. Out: plain values, and the tree's row of the list.

An item is {id, question, choices, answer, images, status, reason, searches, drawn, tokens, nodes}; a node is {id,
parent, from (number of its parent's steps), steps (that it adds), mc, right, drawn, unparsed, undecided, visits, error,
misplaced, prm, truth, rollouts}. error: a first error is located at its last step; misplaced: the step that is the
first wrong one in truth, where that is another (`none` where no step is wrong); prm and truth: a value for each added
step, or none.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from mmprm.data.problem import Problem
from mmprm.labels.evidence import Evidence
from mmprm.pages.kit import Row
from mmprm.pages.problem_view import StepTruth, about, view
from mmprm.report.templates import shorten
from mmprm.runtime.errors import UserError

_MAX_TEXT = 4000  # characters of a rollout that did not parse


def tree_item(
    status: Row,
    nodes: Sequence[Row],
    rollouts: Sequence[Row],
    problem: Problem | None,
    scores: Mapping[int, Sequence[float]] | None,
) -> Row:
    """Return the item of a tree; scores: node -> P(yes) after each of its steps, None where no PRM has read the tree.

    Raises UserError where the tree has no root, or the scores are of another tree.
    """
    name, ordered = status["problem_id"], sorted(nodes, key=lambda node: int(node["node_id"]))
    if not ordered or ordered[0]["parent_id"] is not None:
        raise UserError(f"the tree of {name} has no root; annotate it again")
    evidence = Evidence(nodes, rollouts)
    errors = {path.steps for path in evidence.negatives()[0] if path.answer is None}
    truth_of = StepTruth(problem)
    drawn: dict[int, list[Row]] = defaultdict(list)
    for rollout in rollouts:
        drawn[rollout["node_id"]].append(_rollout(rollout))
    shown: dict[int, Row] = {}
    for node in ordered:
        steps, parent = node["steps"], shown.get(node["parent_id"])
        start = 0 if parent is None else parent["from"] + len(parent["steps"])
        truth = truth_of(steps)
        is_error = tuple(steps) in errors
        shown[node["node_id"]] = {
            "id": node["node_id"],
            "parent": node["parent_id"],
            "from": start,
            "steps": steps[start:],
            "mc": node["mc"],
            "right": node["n_correct"],
            "drawn": node["n_rollouts"],
            "unparsed": node["n_unparsed"],
            "undecided": node["n_undecided"],
            "visits": node["visits"],
            "error": is_error,
            "misplaced": _true_error(truth, len(steps)) if is_error else None,
            "prm": _values(name, node, scores)[start:],
            "truth": truth[start:],
            "rollouts": drawn[node["node_id"]],
        }
    return {
        "id": name,
        **view(problem),
        "status": status["status"],
        "reason": status["reason"],
        "searches": status["n_searches"],
        "drawn": status["n_rollouts"],
        "tokens": status["n_tokens"],
        "nodes": list(shown.values()),
    }


def tree_row(item: Row, problem: Problem | None, split: str) -> Row:
    """Return what the list says of a tree; apart: the largest difference of the PRM's value from a state's MC value."""
    nodes: list[Row] = item["nodes"]
    apart = [abs(node["prm"][-1] - node["mc"]) for node in nodes if node["prm"] and node["mc"] is not None]
    return {
        "id": item["id"],
        **about(problem),
        "split": split,
        "mc": nodes[0]["mc"],
        "states": len(nodes),
        "errors": sum(node["error"] for node in nodes),
        "misplaced": sum(node["misplaced"] is not None for node in nodes),
        "apart": max(apart, default=None),
    }


def _values(name: str, node: Row, scores: Mapping[int, Sequence[float]] | None) -> list[float]:
    if scores is None:
        return []
    values = list(scores.get(node["node_id"], ()))
    if values and len(values) != len(node["steps"]):
        raise UserError(f"the PRM's values of {name} are of another tree; run `snakemake trees` again")
    return [round(value, 4) for value in values]


def _true_error(truth: Sequence[str], located: int) -> str | None:
    """Return where the first wrong step is, where that is not the located one; steps are counted from 1."""
    if not truth or ("unreadable" in truth and "wrong" not in truth):
        return None
    first = truth.index("wrong") + 1 if "wrong" in truth else None
    return None if first == located else "none" if first is None else str(first)


def _rollout(row: Row) -> Row:
    parsed = row["status"] == "ok"
    shown: dict[str, Any] = {name: row[name] for name in ("verdict", "method", "searched", "status")}
    if parsed:
        return shown | {"steps": row["steps"], "answer": row["answer"]}
    return shown | {"text": shorten(row["text"] or "", _MAX_TEXT)}
