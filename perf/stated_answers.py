"""How many real solutions in prose are tagged by rules: `python -m perf.stated_answers`. Out: one JSON line.

In: a folder with `real/mathvision/test.parquet` and `mathvision/testmini.parquet` (the environment variable
MMPRM_REAL_DATA), and labels: a CSV file of id, states: 1 where a reader finds the gold answer in the solution's end.
`kept` are the solutions whose stated answer is graded right, `recall` is their share of those that state it. Since the
gold answer helps to find the stated one (`mmprm.tagging.confirmed`), each solution is also read with wrong golds, the
other options, or the number plus one, two and minus one: `false` of `wrong` such pairs are kept.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmprm.data.problem import Problem
from mmprm.grading import Verdict, grade, rules
from mmprm.tagging.tag_by_rules import stated_answer
from perf.common import finish, machine, need, user_errors
from perf.curation_rules import ROOT, share

LABELS = ROOT / "tests/tagging/real_solutions.csv"
FILES = ("real/mathvision/test.parquet", "mathvision/testmini.parquet")


def solved(folder: Path) -> Iterator[Problem]:
    """Yield the problems that have a solution, each once."""
    import pyarrow.parquet as pq

    seen: set[str] = set()
    for name in FILES:
        columns = ["id", "question", "options", "answer", "solution"]
        for row in pq.read_table(folder / name, columns=columns).to_pylist():
            if not row["solution"] or row["id"] in seen:
                continue
            seen.add(row["id"])
            options = tuple(row["options"] or ())
            drawn = options == tuple("ABCDE"[: len(options)])
            kind = "choice" if options else "auto"
            shown = () if drawn else options
            yield Problem(
                row["id"], "", row["question"], row["answer"], (), shown, answer_type=kind, solution=row["solution"]
            )


def is_kept(problem: Problem) -> bool:
    """Tell whether the solution states an answer that is graded right."""
    answer = stated_answer(problem, problem.solution or "")
    return answer is not None and grade(answer, problem).verdict is Verdict.CORRECT


def wrong_golds(problem: Problem) -> list[str]:
    """Return gold answers of the same kind that are wrong."""
    target = rules.target_of(problem)
    if target.kind == "choice":
        return [letter for letter in "ABCDE"[: len(problem.choices) or 5] if letter != problem.answer]
    value = target.number.value if target.number else None
    return [] if value is None else [str(value + step) for step in (1, 2, -1)]


def measure(folder: Path, labels: Path) -> dict[str, Any]:
    """Read the solutions with their gold answers, and with wrong ones."""
    with labels.open(encoding="utf-8", newline="") as file:
        states = {row["id"]: row["states"] == "1" for row in csv.DictReader(file)}
    problems = [problem for problem in solved(folder) if problem.problem_id in states]
    kept = {problem.problem_id for problem in problems if is_kept(problem)}
    stating = {name for name, is_stating in states.items() if is_stating}
    wrong = [replace(problem, answer=gold) for problem in problems for gold in wrong_golds(problem)]
    false = sum(map(is_kept, wrong))
    counts: dict[str, Any] = {"solutions": len(problems), "stating": len(stating), "kept": len(kept)}
    counts |= {"kept_stating": len(kept & stating), "recall": share(len(kept & stating), len(stating))}
    return counts | {"wrong": len(wrong), "false": false, "false_share": share(false, len(wrong))}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="perf.stated_answers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--labels", type=Path, default=LABELS)
    options = parser.parse_args()
    with user_errors("stated_answers"):
        folder = Path(os.environ.get("MMPRM_REAL_DATA", ""))
        need(*(folder / name for name in FILES), options.labels)
        finish({"name": "stated_answers", **measure(folder, options.labels), "machine": machine()})


if __name__ == "__main__":
    main()
