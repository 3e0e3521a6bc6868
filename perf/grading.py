"""How often the grader agrees with a benchmark's own verdicts on real answers, and how fast it is.

In: JSON lines as `mmprm grade` takes them, each with `official_correct`. Out: one JSON line: for each benchmark its
answers, the share of agreeing verdicts with and without MathVista's nearest option (correct or not; an unparsed answer
is not correct), answers a second from the file to the last verdict, the slowest answer graded alone, and counts by
method. An answer that stays undecided agrees with nothing.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmprm.data import tables
from mmprm.data.problem import Problem
from mmprm.grading import Grader, Verdict
from mmprm.grading.grade_answers import CollectedAnswer, grade_collected, read_answers
from mmprm.runtime.errors import UserError
from perf.common import finish, machine, say, user_errors

_SHOWN = ("benchmark", "problem_id", "model", "question_type", "answer", "official_extraction", "official_correct")


def official_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows as published. UserError where one has no official verdict."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    for number, row in enumerate(rows, 1):
        if not isinstance(row.get("official_correct"), bool):
            raise UserError(f"{path}, row {number}: official_correct is not true or false")
    return rows


def agrees(answer: dict[str, Any], official: bool, nearest: bool = True) -> bool:
    """Tell whether the verdict is the official one. Without `nearest`, the nearest option does not count as right."""
    if answer["verdict"] == Verdict.UNDECIDED:
        return False
    return (answer["verdict"] == Verdict.CORRECT and (nearest or answer["method"] != "nearest")) == official


def agreement(given: Sequence[dict[str, Any]], answers: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return for each benchmark n and the shares of agreeing verdicts."""
    rates: dict[str, dict[str, Any]] = {}
    for name in sorted({row["benchmark"] for row in given}):
        pairs = [
            (a, row["official_correct"]) for a, row in zip(answers, given, strict=True) if row["benchmark"] == name
        ]
        counts = {key: sum(agrees(*pair, key == "agreement") for pair in pairs) for key in ("agreement", "no_nearest")}
        rates[name] = {"n": len(pairs), **{key: round(count / len(pairs), 4) for key, count in counts.items()}}
    return rates


def slowest(rows: Sequence[CollectedAnswer], grader: Grader) -> float:
    """Return the seconds that the slowest answer takes, each graded alone by processes that have started."""
    longest = 0.0
    for row in rows:
        start = time.perf_counter()
        list(grade_collected([row], grader))
        longest = max(longest, time.perf_counter() - start)
    return longest


def write_disagreements(path: Path, given: Sequence[dict[str, Any]], answers: Sequence[dict[str, Any]]) -> int:
    """Write a CSV with a row for each disagreement, and return how many there are."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow([*_SHOWN, "verdict", "method", "extracted", "response"])
    count = 0
    for row, answer in zip(given, answers, strict=True):
        if not agrees(answer, row["official_correct"]):
            shown = [row.get(key) for key in _SHOWN]
            table.writerow([*shown, answer["verdict"], answer["method"], answer["extracted"], row["response"]])
            count += 1
    tables.write_text(path, text.getvalue())
    return count


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m perf.grading", description=__doc__.partition("\n")[0])
    parser.add_argument("--input", type=Path, required=True, help="JSON lines with official_correct")
    parser.add_argument("--disagreements", type=Path, help="a CSV to write, one row for each disagreement")
    parser.add_argument("--workers", type=int, default=2, help="processes that compare formulas (2)")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds for an answer (5)")
    given = parser.parse_args(arguments)
    with user_errors("grading"):
        start = time.perf_counter()
        rows = read_answers(given.input)
        with Grader(given.workers, given.timeout, patient=False) as grader:
            answers = list(grade_collected(rows, grader))
        seconds = time.perf_counter() - start
        official = official_rows(given.input)
        say(f"{len(rows)} answers in {seconds:.1f} s; each alone now")
        with Grader(1, given.timeout, patient=False) as grader:
            grader.grade_many([(r"\sqrt{3}", Problem("", "", "", r"\sqrt{2}"))])  # the process starts and imports
            alone = slowest(rows, grader)
        result: dict[str, Any] = {
            "machine": machine(),
            "agreement": agreement(official, answers),
            "answers_per_second": round(len(rows) / seconds, 1),
            "slowest_seconds": round(alone, 3),
            "methods": dict(Counter(answer["method"] for answer in answers).most_common()),
        }
        if given.disagreements:
            result["disagreements"] = write_disagreements(given.disagreements, official, answers)
    finish(result)


if __name__ == "__main__":
    main()
