"""The verb `grade`: verdicts on answers that other programs collected.

In: JSON lines, one answer each, in the form that `Row` describes. Out: a table with one row for each, in their order:
problem_id, verdict, method (where the answer stood and what decided, as `box:number`), extracted (null for none).
"""

from __future__ import annotations

import json
import math
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmprm.data import tables
from mmprm.data.problem import Problem
from mmprm.grading import official, reading, rules
from mmprm.grading.pool import Grader, Grading
from mmprm.grading.verdict import Graded, Verdict, graded
from mmprm.runtime.errors import UserError
from mmprm.runtime.progress import Progress

VERDICTS = pa.schema([(name, pa.string()) for name in ("problem_id", "verdict", "method", "extracted")])
_CHUNK = 64  # answers that are read before the processes' results are looked at

_TYPES = {
    "multichoice": "choice",
    "multiplechoice": "choice",
    "choice": "choice",
    "integer": "number",
    "float": "number",
    "numerical": "number",
    "number": "number",
    "list": "expression",
    "expression": "expression",
    "equation": "expression",
    "tuple": "expression",
    "interval": "expression",
}


@dataclass(frozen=True)
class Row:
    """One answer. Keys of the JSON object: problem_id, answer (the gold one: text, number or list), response (text or
    null), and where the benchmark has them benchmark, question, choices or options, question_type, answer_type,
    precision (decimals), unit, error (tolerances: a number, or text as `0.1,0.01`). Others are left alone.
    """

    problem_id: str
    target: rules.Target
    response: str | None
    question: str
    benchmark: str


@dataclass(frozen=True)
class Answer:
    """What the table says of one answer."""

    problem_id: str
    graded: Graded
    extracted: str | None


def read_rows(path: Path) -> list[Row]:
    """All rows of the file. UserError names the line and what is wrong with it, before anything is graded."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; --input takes JSON lines, one answer each")
    rows = []
    with path.open(encoding="utf-8") as lines:
        try:
            for place, line in enumerate(lines, 1):
                if line.strip():
                    rows.append(_row(line, f"{path}, line {place}"))
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: not UTF-8 text ({error}); --input takes JSON lines") from error
    return rows


def _row(line: str, where: str) -> Row:
    try:
        given = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON ({error}); mend or delete the line") from error
    if not isinstance(given, dict):
        raise UserError(f"{where}: not a JSON object")
    if missing := [key for key in ("problem_id", "answer", "response") if key not in given]:
        raise UserError(f"{where}: no {', '.join(missing)}; each row needs problem_id, answer and response")
    response = given["response"]
    if response is not None and not isinstance(response, str):
        raise UserError(f"{where}: response is {type(response).__name__}, not text or null")
    try:
        target = _target(given)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {error}") from error
    question = given.get("question")
    benchmark = official.name_of(str(given.get("benchmark") or ""))
    return Row(str(given["problem_id"]), target, response, question if isinstance(question, str) else "", benchmark)


def _target(given: dict[str, Any]) -> rules.Target:
    """ValueError says which key of the row cannot be used, and why."""
    choices = given.get("choices") or given.get("options") or []
    if not isinstance(choices, list):
        raise ValueError("choices is no list")
    gold = given["answer"]
    if isinstance(gold, list):
        gold = ", ".join(str(part) for part in gold)
    if gold is None or isinstance(gold, dict | bool) or not str(gold).strip():
        raise ValueError("answer, the gold one, is neither text nor number nor list")
    kinds = [_TYPES.get(official.name_of(str(given.get(key) or ""))) for key in ("question_type", "answer_type")]
    kind = "choice" if "choice" in kinds or choices else kinds[1] or "auto"
    precision = given.get("precision")
    if precision is not None and not (isinstance(precision, int | float) and 0 <= precision <= 30):
        raise ValueError(f"precision is {precision!r}, not a number of decimals")
    problem = Problem(
        str(given["problem_id"]),
        "",
        str(given.get("question") or ""),
        str(gold),
        choices=tuple(str(option) for option in choices),
        answer_type=kind,
        precision=None if precision is None else int(precision),
        unit=str(given.get("unit") or ""),
        tolerance=_tolerances(given.get("error")),
    )
    return rules.target_of(problem, str(given.get("benchmark") or ""))


def _tolerances(error: Any) -> tuple[float, ...]:
    if error is None or error == "":
        return ()
    found = tuple(float(piece) for piece in str(error).split(",") if piece.strip())
    if not found or not all(0 <= one < math.inf for one in found):
        raise ValueError(f"error is {error!r}, not a tolerance")
    return found


def grade_rows(rows: Sequence[Row], grader: Grader, nearest: bool = True) -> Iterator[Answer]:
    """The answers' verdicts in the order of the rows, each as soon as all before it are there.

    `nearest`: MathVista's rule for an answer that names no option, see `official.nearest`; else it is unparsed.
    """
    waiting: deque[tuple[Row, reading.Reading, Grading | Graded]] = deque()
    for start in range(0, len(rows), _CHUNK):
        for row in rows[start : start + _CHUNK]:
            found = reading.read(row.target, row.response, row.question)
            waiting.append((row, found, _begin(row.target, found, grader)))
        grader.wait(0.0)
        while waiting and (isinstance(waiting[0][2], Graded) or waiting[0][2].done):
            yield _answer(*waiting.popleft(), nearest)
    while waiting:
        while isinstance(waiting[0][2], Grading) and not waiting[0][2].done:
            grader.wait(1.0)
        yield _answer(*waiting.popleft(), nearest)


def _answer(row: Row, found: reading.Reading, grading: Grading | Graded, nearest: bool) -> Answer:
    verdict = grading.verdicts[0] if isinstance(grading, Grading) else grading
    if found.text is not None:
        verdict = Graded(verdict.verdict, f"{found.how}:{verdict.method}")
    return Answer(row.problem_id, _official(row, found, verdict) if nearest else verdict, found.text)


def _begin(target: rules.Target, found: reading.Reading, grader: Grader) -> Grading | Graded:
    if found.text is None:
        return Graded(Verdict.UNPARSED, found.how)
    if found.options:
        return graded(found.options == target.right, "choice")
    return grader.hold_against([(target, found.text, "")])


def _official(row: Row, found: reading.Reading, verdict: Graded) -> Graded:
    """MathVista takes the nearest option for an answer that names none, a refusal too; `nearest` says so."""
    named = found.options or verdict.verdict in (Verdict.CORRECT, Verdict.UNDECIDED) or found.how in ("none", "several")
    if row.benchmark != official.MATHVISTA or row.target.kind != "choice" or named:
        return verdict
    index = official.nearest(row.target.options, found.text, row.response or "")
    return graded(frozenset((index,)) == row.target.right, "nearest")


def grade_answers(
    source: Path, output: Path, workers: int = 2, timeout: float = 5.0, nearest: bool = True
) -> dict[str, int]:
    """Grade a file and write the table, whole or not at all. Returns how many answers have each verdict."""
    rows = read_rows(source)
    written = []
    with Grader(workers, timeout, patient=False) as grader, Progress("graded", len(rows), "answers") as bar:
        for count, answer in enumerate(grade_rows(rows, grader, nearest), 1):
            found = answer.graded
            written.append((answer.problem_id, str(found.verdict), found.method, answer.extracted))
            bar.update(count)
    tables.write(output, (dict(zip(VERDICTS.names, row, strict=True)) for row in written), VERDICTS)
    return dict(Counter(verdict for _, verdict, _, _ in written))
