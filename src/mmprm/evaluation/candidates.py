"""The candidates that are counted, as arrays. In: candidate rows with step probabilities. Out: `Candidates` a problem.

An undecided candidate is left out, and its number reported; so is a problem with no others, or with images that the
policy does not read. All other candidates count, right or wrong. Only a parsed candidate with scores can be chosen
while one exists.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, problems_by_id
from mmprm.evaluation import votes
from mmprm.evaluation.aggregates import AGGREGATES, auc_within_problem
from mmprm.grading import Verdict
from mmprm.model.step_text import NEEDS_IMAGES, Status
from mmprm.prm import score_stamp
from mmprm.runtime.errors import UserError

Row = dict[str, Any]
_LAST = AGGREGATES["last"]


@dataclass(frozen=True)
class Candidates:
    """The counted candidates of one problem, in order: arrays over M candidates."""

    problem_id: str
    group: str  # problems of one group are not independent
    correct: np.ndarray  # bool
    parsed: np.ndarray  # bool
    keys: tuple[str | None, ...]  # answers, see votes.answer_key; None: no vote
    scores: Mapping[str, np.ndarray]  # aggregate -> scores, -inf where it cannot be chosen
    outcome: Mapping[str, np.ndarray] = field(default_factory=dict)  # outcome variant -> P(yes) at the last marker

    @property
    def size(self) -> int:
        """M, the number of candidates."""
        return len(self.keys)


def group_of(problem: Problem) -> str:
    """Name the problems that share an image with this one; by its own id where there are none."""
    return problem.group or problem.problem_id


def candidates_by_problem(problems: Path, candidates: Path) -> tuple[dict[str, Problem], dict[str, list[Row]]]:
    """Read a problem table by id, and the candidates of each problem from a table of schemas.CANDIDATES."""
    by_id = problems_by_id(problems)
    return by_id, by_problem(tables.read_rows(candidates, schemas.CANDIDATES), by_id, candidates, problems)


def by_problem(
    rows: Iterable[Row], problems: Mapping[str, Problem], candidates: Path, table: Path
) -> dict[str, list[Row]]:
    """Map each problem id to its candidates in order; UserError where one is of no problem.

    candidates, table: the files that the rows and the problems are from.
    """
    groups: dict[str, list[Row]] = {name: [] for name in problems}
    for row in rows:
        if row["problem_id"] not in groups:
            raise UserError(f"{candidates}: problem {row['problem_id']!r} is not in {table}: remake the candidates")
        groups[row["problem_id"]].append(row)
    return {name: sorted(group, key=lambda row: row["candidate"]) for name, group in groups.items()}


def join_scores(groups: Mapping[str, Sequence[Row]], scores: Path, name: str = "probabilities") -> dict[str, list[Row]]:
    """Add to candidates a column `name` of P(yes) at their markers, from a table of schemas.SCORES.

    groups: all candidates that were scored. UserError where the table was made for others, a candidate is not in it, or
    has not one probability a marker (or none at all).
    """
    rows = (row for group in groups.values() for row in group)
    table = tables.read_rows(scores, schemas.SCORES)
    if not score_stamp.fits(scores, score_stamp.digest(rows, "problem_id", "candidate")):
        raise UserError(f"{scores}: made for other candidates, whose steps or answers differ: delete it and run again")
    by_candidate = {(row["problem_id"], row["candidate"]): row["probabilities"] or [] for row in table}

    def joined(row: Row) -> Row:
        which = f"candidate {row['candidate']} of problem {row['problem_id']!r}"
        probabilities = by_candidate.get((row["problem_id"], row["candidate"]))
        if probabilities is None:
            raise UserError(f"{scores}: {which} is missing: remake the scores")
        markers = len(row["steps"] or []) + (row["answer"] is not None)
        if len(probabilities) not in (0, markers):
            raise UserError(
                f"{scores}: {which} has {len(probabilities)} probabilities for {markers} markers: remake the scores"
            )
        return row | {name: probabilities}

    return {problem: [joined(row) for row in group] for problem, group in groups.items()}


def was_skipped(row: Mapping[str, Any]) -> bool:
    """Return whether the policy, which reads text alone, was not shown the problem: this is no candidate."""
    return row.get("finish_reason") == NEEDS_IMAGES


def all_skipped(count: int) -> str:
    """Say that of a benchmark nothing is left for a policy that reads text alone."""
    return (
        f"all {count} problems have images, and the policy reads text alone: take this one out of `benchmarks`, or a "
        "vision-language model as policy.base"
    )


def candidates_of(
    problem: Problem, rows: Sequence[Mapping[str, Any]], outcome: Sequence[str] = ()
) -> Candidates | None:
    """Make the arrays of one problem, undecided candidates left out; None where nothing is left.

    outcome: names of outcome variants, whose probabilities are in a row's column `outcome/NAME`. UserError names the
    candidate whose probability is not a number.
    """
    rows = [row for row in rows if row["verdict"] != Verdict.UNDECIDED and not was_skipped(row)]
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


def candidate_counts(rows: Sequence[Row], n_problems: int) -> dict[str, Any]:
    """Count how many candidates differ, parsed, were undecided, failed; and take their mean length in tokens.

    tokens_mean is None where no candidate has a length.
    """
    columns = ["problem_id", "text", "status", "verdict", "finish_reason", "n_tokens", "probabilities"]
    table = pd.DataFrame(rows, columns=columns)
    parsed, tokens = table["status"] == Status.OK, table["n_tokens"].dropna()
    return {
        "distinct_candidates_mean": len(table[["problem_id", "text"]].drop_duplicates()) / n_problems,
        "parsed_share": float(parsed.mean()),
        "tokens_mean": float(tokens.sum() / len(table)) if len(tokens) else None,
        "n_candidates": len(table),
        "n_undecided": int((table["verdict"] == Verdict.UNDECIDED).sum()),
        "n_failed": int((table["finish_reason"] == "error").sum()),
        "n_without_scores": int((parsed & ~table["probabilities"].astype(bool)).sum()),
    }


def within_problem(counted: Sequence[Candidates]) -> dict[str, float | None]:
    """Compute the within-problem AUC of each aggregate, over candidates that can be chosen."""
    scored = [np.isfinite(candidates.scores["min"]) for candidates in counted]
    correct = [candidates.correct[keep].tolist() for candidates, keep in zip(counted, scored, strict=True)]
    return {
        name: auc_within_problem(
            [candidates.scores[name][keep].tolist() for candidates, keep in zip(counted, scored, strict=True)], correct
        )
        for name in AGGREGATES
    }
