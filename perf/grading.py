"""How often the grader agrees with a benchmark's own verdicts on real answers, and how fast it is.

In: JSON lines as `mmprm grade` takes them, each with `official_correct`, or with `expected` ("correct" or anything
else; "debatable" ones count for nothing). Out: one JSON line: for each benchmark its answers, the share of agreeing
verdicts with and without MathVista's nearest option (correct or not; an unparsed answer is not correct), answers a
second from the file to the last verdict, the slowest answer graded alone, peak memory, and counts by method. An answer
that stays undecided agrees with nothing. `--baselines` adds math-verify alone and MathVision's rule, with false
positives and negatives; `--hostile` times answers of 20,000 characters and a file of formulas that end nowhere.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import resource
import tempfile
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
from perf.grading_baselines import math_verify_alone, mathvision_rule

_SHOWN = ("benchmark", "problem_id", "model", "question_type", "answer", "official_extraction", "official_correct")


def official_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows as published. UserError where one has no official verdict."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    for row in rows:
        if isinstance(row.get("expected"), str):
            row["official_correct"] = row["expected"] == "correct"
            row["benchmark"] = "cases"
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
            (a, row["official_correct"])
            for a, row in zip(answers, given, strict=True)
            if row["benchmark"] == name and not _debatable(row)
        ]
        counts = {key: sum(agrees(*pair, key == "agreement") for pair in pairs) for key in ("agreement", "no_nearest")}
        rates[name] = {"n": len(pairs), **{key: round(count / len(pairs), 4) for key, count in counts.items()}}
    return rates


def _debatable(row: dict[str, Any]) -> bool:
    return bool(row.get("debatable")) or row.get("expected") == "debatable"


def errors(given: Sequence[dict[str, Any]], right: Sequence[bool]) -> dict[str, Any]:
    """Count for each benchmark n, agreement, false positives and false negatives."""
    counts: dict[str, Any] = {}
    for name in sorted({row["benchmark"] for row in given}):
        pairs = [
            (found, row["official_correct"])
            for row, found in zip(given, right, strict=True)
            if row["benchmark"] == name and not _debatable(row)
        ]
        positives, negatives = (
            sum(found != asked and found == kind for found, asked in pairs) for kind in (True, False)
        )
        share = round(1 - (positives + negatives) / len(pairs), 4)
        counts[name] = {"n": len(pairs), "agreement": share, "false_positives": positives, "false_negatives": negatives}
    return counts


def baselines(given: Sequence[dict[str, Any]], answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Compare ours with math-verify alone and with MathVision's rule on the same rows."""
    ours = [answer["verdict"] == Verdict.CORRECT for answer in answers]
    return {
        "ours": errors(given, ours),
        "math_verify_alone": errors(given, [math_verify_alone(row) for row in given]),
        "mathvision_rule": errors(given, [mathvision_rule(row) for row in given]),
    }


_LONG = (
    "The answer is not (B), ",
    "is 1 or maybe ",
    "so 12, which is wrong; ",
    "\\boxed{",
    "**7** ",
    "if 3, 4; otherwise ",
    "答案不是",
)
_ENDLESS = "(a+b+c+d+x+y)^{70}=y+%d"


def hostile(workers: int, timeout: float) -> dict[str, Any]:
    """Time answers of 20,000 characters, and a file of 200 formulas that no one can compare in time."""
    rows: list[dict[str, Any]] = [
        {"problem_id": "h", "answer": "12", "response": (piece * 20_000)[:20_000]} for piece in _LONG
    ]
    rows += [row | {"answer": "B", "choices": ["10", "20", "30", "40"]} for row in rows]
    powers = [rf"9^{{9 \cdot 9^{{9}} + {number}}}" for number in range(100)]
    formulas = [_ENDLESS % number for number in range(100)] + powers
    endless = [{"problem_id": "e", "answer": "a+b+c+d+x+y=1", "response": rf"\boxed{{{text}}}"} for text in formulas]
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, Grader(workers, timeout, patient=False) as grader:
        for name, given in (("long", rows), ("endless", endless)):
            path = Path(folder, name)
            path.write_text("".join(json.dumps(row) + "\n" for row in given), encoding="utf-8")
            answers, start = read_answers(path), time.perf_counter()
            if name == "long":
                grader.grade_many([(r"\sqrt{3}", Problem("", "", "", r"\sqrt{2}"))])  # the processes start
                result["slowest_of_20000_characters_seconds"] = round(slowest(answers, grader), 3)
                continue
            verdicts = Counter(row["verdict"] for row in grade_collected(answers, grader))
            result["hostile_file"] = {"n": len(given), "seconds": round(time.perf_counter() - start, 1), **verdicts}
    return result


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
    parser.add_argument("--baselines", action="store_true", help="compare with math-verify alone and MathVision's rule")
    parser.add_argument("--hostile", action="store_true", help="time long answers and formulas that end nowhere")
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
        peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        result["peak_memory_mb"] = dict(
            zip(("reader", "largest_process"), (peak // 1024 for peak in peaks), strict=True)
        )
        if given.baselines:
            result["baselines"] = baselines(official, answers)
        if given.hostile:
            result |= hostile(given.workers, given.timeout)
        if given.disagreements:
            result["disagreements"] = write_disagreements(given.disagreements, official, answers)
    finish(result)


if __name__ == "__main__":
    main()
