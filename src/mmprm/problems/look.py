"""The command `look`: why were rows refused? In: a table of refused rows. Out: a text, and pictures as files.

Rows that curation or tagging refused are problems of tables beside theirs (`problems/<source>.parquet`): their
questions are shown, and their pictures are written to a folder, where any viewer shows them.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, open_image, read_problems
from mmprm.runtime.errors import UserError

_WIDTH = 400  # characters of a question that are shown


def look(path: Path, reasons: Sequence[str], n_rows: int, pictures: Path) -> str:
    """Describe the first `n_rows` refused rows with one of `reasons` (empty: any); their pictures go to `pictures`.

    UserError where the file is no table of refused rows.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    refused = tables.read_rows(path, schemas.REFUSED)
    counts = Counter(row["reason"] for row in refused)
    if unknown := set(reasons) - counts.keys():
        raise UserError(f"--reason {min(unknown)}: the reasons are {', '.join(counts) or 'none'}")
    shown = [row for row in refused if not reasons or row["reason"] in reasons][:n_rows]
    problems = _problems(path.parent, {row["problem_id"] for row in shown if row["problem_id"]})
    total = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
    blocks = [f"{path}: {len(refused)} refused" + (f" ({total})" if total else "")]
    return "\n\n".join([*blocks, *(_described(row, problems.get(row["problem_id"]), pictures) for row in shown)])


def _problems(folder: Path, ids: set[str]) -> dict[str, Problem]:
    """Read the problems with these ids from the problem tables of a folder."""
    found: dict[str, Problem] = {}
    for table in sorted(folder.glob("*.parquet")):
        left = ids - found.keys()
        try:
            is_problems = pq.read_schema(table).names == schemas.PROBLEMS.names
        except (pa.ArrowException, OSError):
            continue
        if left and is_problems:
            found |= {problem.problem_id: problem for problem in read_problems(table, only=left)}
    return found


def _described(row: dict[str, Any], problem: Problem | None, pictures: Path) -> str:
    name = row["problem_id"] or f"row {row['row']} (from 0)"
    lines = [f"{name}", f"  reason:   {row['reason']}", f"  because:  {row['detail']}"]
    if problem is not None:
        question = " ".join(problem.question.split())
        lines.append(f"  question: {question if len(question) <= _WIDTH else question[: _WIDTH - 1] + '…'}")
        lines += [f"  choice:   {choice}" for choice in problem.choices]
        lines.append(f"  gold:     {problem.answer}")
        lines += [f"  picture:  {_written(problem, index, pictures)}" for index in range(len(problem.images))]
    return "\n".join(lines)


def _written(problem: Problem, index: int, folder: Path) -> Path:
    """Write a picture of the problem as it was published, and return its path."""
    image = problem.images[index]
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in problem.problem_id)[:120]
    path = folder / f"{safe}-{index + 1}.{str(open_image(image).format).lower()}"
    with tables.replacing(path) as temporary:
        temporary.write_bytes(image)
    return path
