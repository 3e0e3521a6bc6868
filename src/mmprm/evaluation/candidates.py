"""The candidates that count, as arrays. In: candidate rows with step probabilities. Out: `Candidates` of each problem.

An undecided candidate is left out, and its number reported; a problem of undecided ones alone is left out too. All the
others count, right or wrong. Only a parsed candidate with scores can be chosen while one exists.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmprm.data import schemas, tables
from mmprm.data.problem import Problem
from mmprm.evaluation import votes
from mmprm.evaluation.aggregates import AGGREGATES
from mmprm.evaluation.auc import auc_within_problem
from mmprm.grading import Verdict
from mmprm.model.step_text import Status
from mmprm.runtime.errors import UserError

Row = dict[str, Any]
_LAST = AGGREGATES["last"]


@dataclass(frozen=True)
class Candidates:
    """The counted candidates of one problem, in order: arrays over M candidates."""

    problem_id: str
    group: str  # problems with the same one are not independent
    correct: np.ndarray  # bool
    parsed: np.ndarray  # bool
    keys: tuple[str | None, ...]  # answers, see votes.answer_key; None: no vote
    scores: Mapping[str, np.ndarray]  # aggregate -> scores, -inf where it cannot be chosen
    outcome: Mapping[str, np.ndarray] = field(default_factory=dict)  # outcome variant -> P(yes) at the last marker


def group_of(problem: Problem) -> str:
    """The name of the problems that it shares an image with; its own where it stands alone."""
    return problem.group or problem.problem_id


def join_scores(groups: Mapping[str, Sequence[Row]], scores: Path, name: str = "probabilities") -> dict[str, list[Row]]:
    """The candidates of each problem with a column `name` of P(yes) at their markers, from a table of schemas.SCORES.

    UserError where a candidate is not in the table, or has not one probability a marker (or none at all).
    """
    table = tables.read_rows(scores, schemas.SCORES)
    of_row = {(row["problem_id"], row["candidate"]): row["probabilities"] or [] for row in table}

    def joined(row: Row) -> Row:
        which = f"candidate {row['candidate']} of problem {row['problem_id']!r}"
        probabilities = of_row.get((row["problem_id"], row["candidate"]))
        if probabilities is None:
            raise UserError(f"{scores}: {which} is missing: remake the scores")
        markers = len(row["steps"] or []) + (row["answer"] is not None)
        if len(probabilities) not in (0, markers):
            raise UserError(
                f"{scores}: {which} has {len(probabilities)} probabilities for {markers} markers: remake the scores"
            )
        return row | {name: probabilities}

    return {problem: [joined(row) for row in group] for problem, group in groups.items()}


def by_problem(
    rows: Iterable[Row], problems: Mapping[str, Problem], candidates: Path, table: Path
) -> dict[str, list[Row]]:
    """Problem id -> its candidates in order, every problem included; UserError where one is of no problem.

    candidates, table: the files that the rows and the problems are from.
    """
    groups: dict[str, list[Row]] = {name: [] for name in problems}
    for row in rows:
        if row["problem_id"] not in groups:
            raise UserError(f"{candidates}: problem {row['problem_id']!r} is not in {table}: remake the candidates")
        groups[row["problem_id"]].append(row)
    return {name: sorted(group, key=lambda row: row["candidate"]) for name, group in groups.items()}


def counted_candidates(
    problem: Problem, rows: Sequence[Mapping[str, Any]], outcome: Sequence[str] = ()
) -> Candidates | None:
    """The arrays of one problem, undecided candidates left out; None where nothing is left.

    outcome: names of outcome variants, whose probabilities stand in a row's column `outcome/NAME`. UserError names the
    candidate whose probability is not a number.
    """
    rows = [row for row in rows if row["verdict"] != Verdict.UNDECIDED]
    if not rows:
        return None
    parsed = np.array([row["status"] == Status.OK for row in rows])
    correct = parsed & np.array([row["verdict"] == Verdict.CORRECT for row in rows])
    keys = tuple(
        votes.answer_key(problem, row["answer"] or "", bool(right)) if ok else None
        for row, ok, right in zip(rows, parsed, correct, strict=True)
    )
    scores = {name: np.full(len(rows), -np.inf) for name in AGGREGATES}
    outcomes = {name: np.full(len(rows), -np.inf) for name in outcome}
    for index in np.flatnonzero(parsed):
        row = rows[index]
        try:
            for name, aggregate in AGGREGATES.items():
                scores[name][index] = aggregate(row["probabilities"])
            for name, values in outcomes.items():
                values[index] = _LAST(row[f"outcome/{name}"])
        except ValueError as error:
            where = f"problem {problem.problem_id!r}, candidate {row['candidate']}"
            raise UserError(f"{where}: {error}; the PRM is broken: retrain it") from error
    return Candidates(problem.problem_id, group_of(problem), correct, parsed, keys, scores, outcomes)


def counts(rows: Sequence[Mapping[str, Any]], n_problems: int) -> dict[str, Any]:
    """What the candidates are: how many differ, parsed, were undecided, failed; their mean length in tokens.

    tokens_mean is None where no candidate says its length.
    """
    texts = defaultdict(set)
    for row in rows:
        texts[row["problem_id"]].add(row["text"])
    tokens = [row["n_tokens"] for row in rows if row["n_tokens"] is not None]
    return {
        "distinct_candidates_mean": sum(map(len, texts.values())) / n_problems,
        "parsed_share": sum(row["status"] == Status.OK for row in rows) / len(rows),
        "tokens_mean": sum(tokens) / len(rows) if tokens else None,
        "n_candidates": len(rows),
        "n_undecided": sum(row["verdict"] == Verdict.UNDECIDED for row in rows),
        "n_failed": sum(row["finish_reason"] == "error" for row in rows),
        "n_without_scores": sum(row["status"] == Status.OK and not row["probabilities"] for row in rows),
    }


def within_problem(counted: Sequence[Candidates]) -> dict[str, float | None]:
    """Within-problem AUC of each aggregate, over candidates that can be chosen."""
    chosen = [np.isfinite(one.scores["min"]) for one in counted]
    correct = [one.correct[keep].tolist() for one, keep in zip(counted, chosen, strict=True)]
    return {
        name: auc_within_problem(
            [one.scores[name][keep].tolist() for one, keep in zip(counted, chosen, strict=True)], correct
        )
        for name in AGGREGATES
    }
