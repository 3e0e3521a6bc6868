"""Sources into problem tables. In: a source of the configuration. Out: its problems, and the rows that were refused.

One bad row never stops a run, and none is dropped in silence; too many stop it (`intake.max_refused_share`).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from mmprm import tables
from mmprm.config import Config
from mmprm.config_sources import MiniSource, TableSource
from mmprm.errors import UserError
from mmprm.problem import Problem, write_problems
from mmprm.problems import table_source
from mmprm.problems.images import RefusedError


def make_source(config: Config, name: str, out: Path, refused: Path) -> None:
    """Write the source's problems (ids `{source}/{id}`) and the refused rows with reasons.

    UserError where the file lacks a column, nothing is left, or more than the bound is refused: then the refused rows
    lie beside `refused`, in a file that Snakemake does not delete.
    """
    source = config.sources[name]
    if isinstance(source, MiniSource):
        problems, n_rows = _drawn(source, name, config.seed), source.size
        bad: list[Mapping[str, Any]] = []
    else:
        problems, bad, n_rows = _from_table(source, name, config.intake.max_image_pixels)
    stopped = refused.with_suffix(".stopped.parquet")
    counts = ", ".join(f"{count} {reason}" for reason, count in Counter(row["reason"] for row in bad).most_common())
    if not problems or len(bad) > config.intake.max_refused_share * n_rows:
        tables.write(stopped, bad, tables.REFUSED)
        raise UserError(
            f"source {name}: {len(bad)} of {n_rows} rows are refused ({counts or 'there are none'}), and "
            f"{len(problems)} problems are left; intake.max_refused_share is {config.intake.max_refused_share}: "
            f"mend the rows that {stopped} lists, or raise the bound"
        )
    write_problems(out, problems)
    tables.write(refused, bad, tables.REFUSED)
    stopped.unlink(missing_ok=True)
    counts = f" ({counts})" if counts else ""
    print(f"{name}: {len(problems)} problems, {len(bad)} rows refused{counts}", file=sys.stderr)


def _drawn(source: MiniSource, name: str, seed: int) -> list[Problem]:
    from mmprm.problems import mini

    drawn = mini.generate(source.split, source.size, source.families, seed)
    return [replace(problem, problem_id=f"{name}/{problem.problem_id}", source=name) for problem in drawn]


def _from_table(source: TableSource, name: str, max_pixels: int) -> tuple[list[Problem], list[Mapping[str, Any]], int]:
    """(problems, refused rows, rows read)."""
    columns, rows = table_source.rows(source.path)
    if not columns:
        raise UserError(f"{source.path}: there are no rows in it")
    mapped = table_source.column_map(source, columns)
    problems: list[Problem] = []
    bad: list[Mapping[str, Any]] = []
    place: dict[str, int] = {}
    n_rows = 0
    for number, row in enumerate(islice(rows, source.limit)):
        n_rows += 1
        if n_rows % 1000 == 0:
            print(f"{name}: row {n_rows}, {len(bad)} refused so far", file=sys.stderr)
        try:
            problem = table_source.read_row(row, mapped, name, source, max_pixels)
            if problem.problem_id in place:
                first = place[problem.problem_id]
                raise RefusedError("duplicate_id", f"row {first} has the same id, and was taken")
        except RefusedError as error:
            bad.append(
                {
                    "source": name,
                    "row": number,
                    "problem_id": _id_of(row, mapped, name),
                    "reason": error.reason,
                    "detail": error.detail,
                }
            )
            continue
        place[problem.problem_id] = number
        problems.append(problem)
    return problems, bad, n_rows


def _id_of(row: Any, mapped: dict[str, str], name: str) -> str | None:
    """The id of a row that was refused, where it has one that can be written down."""
    found = row.get(mapped["id"]) if isinstance(row, dict) else None
    if found is None:
        return None
    return f"{name}/{found}".encode(errors="replace").decode()
