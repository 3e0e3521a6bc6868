"""The marks of people, as the audit's page saves them. In: CSV files. Out: `Mark` rows, checked.

A file is the marks of one person on one sample. Each row says itself what was claimed of the item and how many of the
population it stands for, so that marks can be measured without the run.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmprm.runtime.errors import UserError

COLUMNS = ("item", "kind", "rater", "mark", "claim", "value", "weight", "stratum", "problem_id", "note")
KINDS = ("step", "verdict", "refusal")
MARKS = ("right", "wrong", "unclear")
CLAIMS = ("right", "wrong")


@dataclass(frozen=True)
class Mark:
    """One item that one person judged.

    kind: a labelled step, a grading verdict, a refusal of curation. claim: what the run says of it (right, wrong).
    weight: how many of the population the item stands for. problem_id: items of one problem are not independent.
    """

    item: str
    kind: str
    rater: str
    mark: str
    claim: str
    weight: float
    stratum: str
    problem_id: str


def read_marks(paths: Sequence[Path]) -> list[Mark]:
    """Read the marks of all files; rows without a mark are left out.

    Raises UserError, with file and line, where a file is no table of marks, a value is not allowed, a person marked an
    item twice, or two files say different things of the same item.
    """
    found: dict[tuple[str, str], Mark] = {}
    claims: dict[str, tuple[str, str, float]] = {}
    for path in paths:
        for line, mark in _rows(path):
            where = f"{path}, line {line}"
            if found.setdefault((mark.item, mark.rater), mark) is not mark:
                raise UserError(f"{where}: {mark.rater!r} marked the item {mark.item} twice; give each person a name")
            said = (mark.kind, mark.claim, mark.weight)
            if claims.setdefault(mark.item, said) != said:
                raise UserError(
                    f"{where}: another file says otherwise of the item {mark.item}; are both of one sample?"
                )
    if not found:
        raise UserError(f"no marks in {', '.join(map(str, paths))}")
    return list(found.values())


def _rows(path: Path) -> list[tuple[int, Mark]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = set(COLUMNS) - set(reader.fieldnames or ())
            if missing:
                raise UserError(f"{path}: not marks of an audit: it has no column {', '.join(sorted(missing))}")
            return [(reader.line_num, _mark(row, path, reader.line_num)) for row in reader if row["mark"]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: {error}") from error


def _mark(row: dict[str, str], path: Path, line: int) -> Mark:
    where = f"{path}, line {line}"
    for column, allowed in (("kind", KINDS), ("mark", MARKS), ("claim", CLAIMS)):
        if row[column] not in allowed:
            raise UserError(f"{where}: {column} is {row[column]!r}; allowed: {', '.join(allowed)}")
    try:
        weight = float(row["weight"])
    except (TypeError, ValueError):
        weight = 0.0
    if not 0 < weight < float("inf"):
        raise UserError(f"{where}: weight is {row['weight']!r}, not a number above 0")
    rater = row["rater"].strip() or path.stem
    names = {name: row[name] or "" for name in ("item", "kind", "mark", "claim", "stratum", "problem_id")}
    return Mark(rater=rater, weight=weight, **names)
