"""Which errors of a mini policy does its PRM see? Out: one JSON line.

    python -m perf.error_kinds --results results/mini --benchmark dev --variant soft

The first wrong step of each candidate is set against the right steps before it, by family and by kind of error (see
mini/truth.py): how often it comes, and the AUC of P(yes) to tell it from right steps of its sort (readings, or
operations). Beside it stands the AUC over answers. `python -m perf.judgement` asks the policy for such errors one by
one: what it tells there, and its PRM does not here, was lost in the training of either.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmprm.data import schemas, tables
from mmprm.data.problem import problems_by_id
from mmprm.evaluation.aggregates import auc
from mmprm.mini.truth import Judgement, Truth, figures_of
from perf.common import finish, need, user_errors

Cell = tuple[str, str]  # a family, and a kind of error
READING = ("reading",)  # errors of a step that states a value of the figure; all others are of operations


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="the folder of a run of the mini world")
    parser.add_argument("--benchmark", default="dev")
    parser.add_argument("--variant", default="soft")
    given = parser.parse_args(arguments)
    with user_errors("error_kinds"):
        finish(measure(given.results, given.benchmark, given.variant))


def measure(results: Path, benchmark: str, variant: str) -> dict[str, Any]:
    """Judge the steps of all candidates that parse; returns what the JSON line says."""
    folder = results / "bench" / benchmark
    files = (results / f"problems/{benchmark}.parquet", folder / "candidates.parquet")
    scores = folder / variant / "scores.parquet"
    need(*files, scores)
    problems = problems_by_id(files[0])
    figures = figures_of(problems)
    by_candidate = {
        (row["problem_id"], row["candidate"]): row["probabilities"] for row in tables.read_rows(scores, schemas.SCORES)
    }
    right: dict[Cell, list[float]] = defaultdict(list)  # by "reading" or "operation"
    wrong: dict[Cell, list[float]] = defaultdict(list)
    answers: list[tuple[float, bool]] = []
    for row in tables.read_rows(files[1], schemas.CANDIDATES):
        if row["status"] != "ok" or row["problem_id"] not in figures:
            continue
        probabilities = by_candidate[row["problem_id"], row["candidate"]]
        family = problems[row["problem_id"]].family or ""
        judged = figures[row["problem_id"]].judge(row["steps"])
        for step, judgement, value in zip(row["steps"], judged, probabilities, strict=False):
            cells = right if judgement.truth == Truth.RIGHT else wrong
            for name in (family, "all"):
                cells[name, kind_of(step, judgement)].append(value)
            if judgement.truth != Truth.RIGHT:
                break
        answers.append((probabilities[-1], row["verdict"] == "correct"))
    found = {
        f"{family}, {error}": {
            "first_errors": len(values),
            "auc": _auc(right[family, sort_of(error)], values) if error != "unreadable" else None,
        }
        for (family, error), values in sorted(wrong.items())
    }
    return {
        "what": "errors that a PRM tells from right steps",
        "run": results.name,
        "benchmark": benchmark,
        "variant": variant,
        "candidates": len(answers),
        "auc_answers": auc([value for value, _ in answers], [is_right for _, is_right in answers]),
        "cells": found,
    }


def kind_of(step: str, judgement: Judgement) -> str:
    """Name the error of a wrong step, "unreadable", or the sort of a right one."""
    if judgement.truth == Truth.RIGHT:
        return "operation" if step.count(" = ") > 1 else "reading"
    return judgement.error or "unreadable"


def sort_of(error: str) -> str:
    """Name the sort of right steps that an error is set against."""
    return "reading" if error in READING else "operation"


def _auc(right: Iterable[float], wrong: Iterable[float]) -> float | None:
    both = [*((value, True) for value in right), *((value, False) for value in wrong)]
    value = auc([score for score, _ in both], [is_right for _, is_right in both])
    return None if value is None else round(value, 3)


if __name__ == "__main__":
    main()
