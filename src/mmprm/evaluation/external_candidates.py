"""Problems and candidates from outside a run. In: files of any policy. Out: `ExternalCandidates`, as in our tables.

Files are JSON Lines (`.jsonl`, `.ndjson`), a JSON array (`.json`) or parquet. A candidate names its problem by its id
in the problem file, or contains it; its steps are texts without tags, and `answer` is its final answer:

    {"problem": "geo-17", "steps": ["AB = 3 + 4 = 7", "The area is 7 * 2 = 14"], "answer": "14"}
    {"problem": {"question": "…", "answer": "14", "image": "17.png"}, "steps": ["…"], "answer": "12"}
    {"problem": "geo-17", "text": "<step>AB = 3 + 4 = 7</step><answer>7</answer>"}

A problem is a row of our own problem table, or

    {"id": "geo-17", "question": "…", "answer": "14", "image": "17.png", "choices": ["12", "14"], "answer_type": "auto"}

of which id, question and answer are required; precision, unit, tolerance and group are read too, all as those of a
source (`problems.fields`). An image is a path below the file's folder, encoded bytes (in parquet), or a list of these.
Candidates are numbered within their problem in the order of the file, unless `candidate` gives the number. One without
steps or an answer, or with tags inside, is kept with a status that is not ok: no PRM can choose it. A row that cannot
be read at all stops the command, with its file and line.
"""

import json
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from mmprm.config.sources import Intake
from mmprm.data.problem import Problem, problems_by_id
from mmprm.model.step_text import Parsed, Status, has_control, parse, render_solution
from mmprm.prm import score_stamp
from mmprm.problems import json_array
from mmprm.problems.fields import RowFields, SourceContext, problem_of
from mmprm.problems.image_checks import check_table
from mmprm.problems.json_rows import without_nan
from mmprm.problems.refusals import RowRefusedError, object_of, one_row
from mmprm.problems.rows import PARQUET
from mmprm.runtime.errors import UserError

T = TypeVar("T")
_BAD = "bad_row"  # the reason of refusals
_SHOWN = 8  # bad rows in a message
_LINE = 2**26  # bytes of an item of a JSON array
_LARGEST = Intake().max_image_pixels
_AS_GIVEN = ("question", "answer", "answer_type", "precision", "unit", "tolerance", "group")  # fields of a problem


@dataclass(frozen=True)
class ExternalCandidates:
    """Problems by id, and rows of schemas.CANDIDATES of them (verdict `unparsed` until they are graded)."""

    problems: Mapping[str, Problem]
    rows: list[dict[str, Any]]

    @property
    def fingerprint(self) -> str:
        """A hash of what a PRM reads of the candidates, by which their scores are recognised."""
        return score_stamp.digest(self.rows, "problem_id", "candidate")


def read_candidates(problems: Path | None, candidates: Path) -> ExternalCandidates:
    """Read both files; `problems` is not needed where every candidate contains its problem.

    UserError names the file and the first bad rows with their lines.
    """
    known = _problems(problems) if problems else {}
    numbers: Counter[str] = Counter()
    taken: set[tuple[str, int]] = set()

    def candidate(row: Any) -> dict[str, Any]:
        row = _object(row)
        problem = _problem_of_candidate(row, candidates, known, problems)
        name, solution = problem.problem_id, _solution(row)
        known.setdefault(name, problem)
        number = row.get("candidate", numbers[name])
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise RowRefusedError(_BAD, f"candidate is {number!r}, not a number from 0 on")
        if (name, number) in taken:
            raise RowRefusedError(_BAD, f"there is another candidate {number} of problem {name!r} above")
        numbers[name] += 1
        taken.add((name, number))
        return {
            "problem_id": name,
            "candidate": number,
            "text": render_solution(solution.steps, solution.answer),
            "steps": list(solution.steps),
            "answer": solution.answer,
            "status": str(solution.status),
            "verdict": "unparsed",
            "method": "none",
            "n_tokens": None,
            "finish_reason": "stop",
        }

    rows = _read_all(candidates, candidate)
    return ExternalCandidates({name: problem for name, problem in known.items() if name in numbers}, rows)


def numbered_rows(path: Path) -> list[tuple[str, Any]]:
    """Return (position, row) of a file; UserError where the file as a whole cannot be read."""
    try:
        if path.suffix in PARQUET:
            return [(f"row {number}", row) for number, row in enumerate(pq.read_table(path).to_pylist())]
        if path.suffix == ".json":
            return [(f"item {number}", text) for number, text in enumerate(json_array.elements(path, _LINE, BOM_UTF8))]
        if path.suffix in (".jsonl", ".ndjson"):
            with path.open(encoding="utf-8-sig") as file:
                return [(f"line {number}", line) for number, line in enumerate(file, 1) if line.strip()]
    except (OSError, ValueError, RecursionError, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    raise UserError(f"{path}: not a .jsonl, .ndjson, .json or .parquet file")


def _read_all(path: Path, make: Callable[[Any], T]) -> list[T]:
    """Return `make(row)` of all rows of a file; UserError lists those that it refuses."""
    made, bad = [], []
    for where, row in numbered_rows(path):
        try:
            with one_row():
                made.append(make(row))
        except RowRefusedError as error:
            bad.append(f"  {where}: {error}")
    if bad:
        more = f"\n  and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise UserError(f"{path}: bad rows ({len(bad)}), fix or remove them:\n" + "\n".join(bad[:_SHOWN]) + more)
    if not made:
        raise UserError(f"{path}: there are no rows in it")
    return made


def _object(row: Any) -> dict[str, Any]:
    if isinstance(row, str | bytes):
        try:
            row = json.loads(row)
        except (ValueError, RecursionError) as error:
            raise RowRefusedError(_BAD, f"not JSON ({error})") from error
    return object_of(without_nan(row))


def _problems(path: Path) -> dict[str, Problem]:
    try:
        is_problem_table = path.suffix in PARQUET and "problem_id" in pq.read_schema(path).names
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    if is_problem_table:
        given = problems_by_id(path)
        check_table(given.values(), path, _LARGEST)
        return given
    by_id: dict[str, Problem] = {}

    def problem(row: Any) -> None:
        made = _problem(_object(row), path)
        if not made.problem_id:
            raise RowRefusedError(_BAD, "there is no id")
        if made.problem_id in by_id:
            raise RowRefusedError(_BAD, f"there is another problem {made.problem_id!r} above")
        by_id[made.problem_id] = made

    _read_all(path, problem)
    return by_id


def _problem_of_candidate(
    row: dict[str, Any], candidates: Path, known: Mapping[str, Problem], problems: Path | None
) -> Problem:
    named = row.get("problem", row.get("problem_id"))
    if isinstance(named, dict):
        made = _problem(_object(named), candidates)
        return made if made.problem_id else replace(made, problem_id=f"{candidates.stem}/{made.fingerprint}")
    if isinstance(named, bool) or not isinstance(named, str | int):
        raise RowRefusedError(_BAD, "`problem` is neither an id nor an object with question and answer")
    if str(named) not in known:
        where = f"not in {problems}" if problems else "not known without --problems"
        raise RowRefusedError(_BAD, f"problem {named!r} is {where}")
    return known[str(named)]


def _problem(row: dict[str, Any], path: Path) -> Problem:
    """Read a problem as those of sources are; its id is the row's, and empty where the row has none."""
    name, image = row.get("id", row.get("problem_id")), row.get("image", row.get("images"))
    images = [item for item in (image if isinstance(image, list) else [image]) if item]
    given: dict[str, Any] = {field: row.get(field) for field in _AS_GIVEN} | {"choices": row.get("choices") or None}
    fields = RowFields(id="-" if name is None else name, image=images, has_image=bool(images), **given)
    made = problem_of(fields, SourceContext(path.stem, path.parent, _LARGEST))
    return replace(made, problem_id="" if name is None else made.problem_id.removeprefix(f"{made.source}/"))


def _solution(row: dict[str, Any]) -> Parsed:
    """Read steps and answer, with the status that they would have had in a sampled text."""
    if "steps" not in row:
        if not isinstance(row.get("text"), str):
            raise RowRefusedError(_BAD, "there are neither `steps` (a list of texts) nor `text` (with step tags)")
        return parse(row["text"])
    steps, answer = row["steps"], row.get("answer")
    if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
        raise RowRefusedError(_BAD, "steps are not a list of texts")
    if isinstance(answer, bool) or not isinstance(answer, str | int | float | None):
        raise RowRefusedError(_BAD, f"answer is {answer!r:.80}, not a text or null")
    steps, answer = [step.strip() for step in steps], "" if answer is None else str(answer).strip()
    if not steps and not answer:
        return Parsed(Status.EMPTY)
    if not answer:
        return Parsed(Status.NO_ANSWER)
    if not steps or not all(steps):
        return Parsed(Status.MALFORMED)
    if any(has_control(text) for text in (*steps, answer)):
        return Parsed(Status.CONTROL)
    return Parsed(Status.OK, tuple(steps), answer)
