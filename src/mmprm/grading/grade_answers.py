"""The verb `grade`: verdicts on answers that other programs collected.

In: JSON lines, one answer each. Keys: problem_id, answer (the gold one: text, number or list), response (text or null);
optional: benchmark, question, choices or options, question_type, answer_type, precision (decimals), unit, error
(tolerances: a number, or text as `0.1,0.01`). Out: a table with one row for each answer, in their order: problem_id,
verdict, method (where the answer was found and what decided, as `box:number`), extracted (null for no answer).
"""

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
from mmprm.grading.benchmark_rules import MATHVISTA, benchmark_key, nearest_option
from mmprm.grading.final_answer import FinalAnswer, read_final_answer
from mmprm.grading.grader import Grader, PendingVerdicts
from mmprm.grading.rules import Graded, Target, Verdict, graded, target_of
from mmprm.runtime.errors import UserError
from mmprm.runtime.progress import Progress

VERDICTS = pa.schema([(name, pa.string()) for name in ("problem_id", "verdict", "method", "extracted")])
Row = dict[str, Any]
_CHUNK = 64  # answers that are read before the results of the processes are collected
# The names that benchmarks give to types of answers and questions.
_TYPES = (
    dict.fromkeys(("multichoice", "multiplechoice", "choice"), "choice")
    | dict.fromkeys(("integer", "float", "numerical", "number"), "number")
    | dict.fromkeys(("list", "expression", "equation", "tuple", "interval"), "expression")
)


@dataclass(frozen=True)
class CollectedAnswer:
    """An answer to grade, as a line of the input describes it."""

    problem_id: str
    target: Target
    response: str | None
    question: str
    benchmark: str


def read_answers(path: Path) -> list[CollectedAnswer]:
    """Read all answers of the file. UserError names the first line that is not usable, and why."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; --input takes JSON lines, one answer each")
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error}); --input takes JSON lines") from error
    return [_collected_answer(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]


def _collected_answer(line: str, where: str) -> CollectedAnswer:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON ({error}); fix or delete the line") from error
    if not isinstance(row, dict):
        raise UserError(f"{where}: not a JSON object")
    if missing := [key for key in ("problem_id", "answer", "response") if key not in row]:
        raise UserError(f"{where}: no {', '.join(missing)}; each row needs problem_id, answer and response")
    row = _without_surrogates(row)
    response, question = row["response"], row.get("question")
    if response is not None and not isinstance(response, str):
        raise UserError(f"{where}: response is {type(response).__name__}, not text or null")
    try:
        target = _target(row)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {error}") from error
    question = question if isinstance(question, str) else ""
    return CollectedAnswer(str(row["problem_id"]), target, response, question, benchmark_key(_text(row, "benchmark")))


def _without_surrogates(value: Any) -> Any:
    """Remove halves of characters, which JSON can hold and no table can, from all texts of a row."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    return {key: _without_surrogates(item) for key, item in value.items()} if isinstance(value, dict) else value


def _text(row: dict[str, Any], key: str) -> str:
    return str(row.get(key) or "")


def _target(row: dict[str, Any]) -> Target:
    """Return what the answer is compared with. ValueError says which key of the row is not usable, and why."""
    choices = row.get("choices") or row.get("options") or []
    if not isinstance(choices, list):
        raise ValueError("choices is not a list")
    gold = row["answer"]
    if isinstance(gold, list):
        gold = ", ".join(str(part) for part in gold)
    if gold is None or isinstance(gold, dict | bool) or not str(gold).strip():
        raise ValueError("answer (the gold one) is neither text nor number nor list")
    kinds = [_TYPES.get(benchmark_key(_text(row, key))) for key in ("question_type", "answer_type")]
    precision = row.get("precision")
    if precision is not None and not (isinstance(precision, int | float) and 0 <= precision <= 30):
        raise ValueError(f"precision is {precision!r}, not a number of decimals")
    problem = Problem(
        str(row["problem_id"]),
        "",
        _text(row, "question"),
        str(gold),
        choices=tuple(str(option) for option in choices),
        answer_type="choice" if "choice" in kinds or choices else kinds[1] or "auto",
        precision=None if precision is None else int(precision),
        unit=_text(row, "unit"),
        tolerance=_tolerances(row.get("error")),
    )
    return target_of(problem, _text(row, "benchmark"))


def _tolerances(error: Any) -> tuple[float, ...]:
    if error is None or error == "":
        return ()
    tolerances = tuple(float(piece) for piece in str(error).split(",") if piece.strip())
    if not tolerances or not all(0 <= tolerance < math.inf for tolerance in tolerances):
        raise ValueError(f"error is {error!r}, not a tolerance")
    return tolerances


def grade_collected(answers: Sequence[CollectedAnswer], grader: Grader, nearest: bool = True) -> Iterator[Row]:
    """Yield the rows of VERDICTS in the order of the answers, each as soon as all before it are known.

    nearest: apply MathVista's rule to an answer that names no option (see `nearest_option`), else it is unparsed.
    """
    waiting: deque[tuple[CollectedAnswer, FinalAnswer, PendingVerdicts]] = deque()
    for start in range(0, len(answers), _CHUNK):
        for answer in answers[start : start + _CHUNK]:
            final = read_final_answer(answer.target, answer.response, answer.question)
            compared = [] if final.text is None or final.options else [(answer.target, final.text, "")]
            waiting.append((answer, final, grader.start_keys(compared)))
        grader.wait(0.0)
        while waiting and waiting[0][2].done:
            yield _row(*waiting.popleft(), nearest)
    while waiting:
        while not waiting[0][2].done:
            grader.wait(1.0)
        yield _row(*waiting.popleft(), nearest)


def _row(answer: CollectedAnswer, final: FinalAnswer, pending: PendingVerdicts, nearest: bool) -> Row:
    verdict = Graded(Verdict.UNPARSED, final.how)
    if final.text is not None:
        decided = graded(final.options == answer.target.right, "choice") if final.options else pending.verdicts[0]
        verdict = Graded(decided.verdict, f"{final.how}:{decided.method}")
    # A response, maybe a refusal, that names no option and equals none.
    unnamed = verdict.verdict in (Verdict.INCORRECT, Verdict.UNPARSED) and final.how not in ("none", "several")
    mathvista = nearest and answer.benchmark == MATHVISTA and answer.target.kind == "choice"
    if mathvista and unnamed and not final.options:
        option = nearest_option(answer.target.options, final.text, answer.response or "")
        verdict = graded(frozenset((option,)) == answer.target.right, "nearest")
    values = answer.problem_id, str(verdict.verdict), verdict.method, final.text
    return dict(zip(VERDICTS.names, values, strict=True))


def grade_answers(
    source: Path, output: Path, workers: int = 2, timeout: float = 5.0, nearest: bool = True
) -> dict[str, int]:
    """Grade a file and write the table atomically. Returns how many answers have each verdict."""
    answers, rows = read_answers(source), []
    with Grader(workers, timeout, patient=False) as grader, Progress("graded", len(answers), "answers") as bar:
        for row in grade_collected(answers, grader, nearest):
            rows.append(row)
            bar.update(len(rows))
    tables.write(output, rows, VERDICTS)
    return dict(Counter(str(row["verdict"]) for row in rows))
