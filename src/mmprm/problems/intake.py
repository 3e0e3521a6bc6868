"""Sources into problem tables. In: a source of the configuration. Out: its problems, and the rows that were refused.

One bad row never stops a run, and none is dropped in silence; too many stop it (`intake.max_refused_share`).
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from mmprm import tables
from mmprm.config import Config
from mmprm.config.sources import DERIVED, DataFiles, MiniSource
from mmprm.errors import UserError
from mmprm.problem import Problem, write_problems
from mmprm.problems import rows
from mmprm.problems.adapters import adapter_of
from mmprm.problems.files import locate
from mmprm.problems.images import RefusedError
from mmprm.problems.values import Place, object_of, problem_of


def make_source(config: Config, name: str, out: Path, refused: Path) -> None:
    """Write the source's problems (ids `{source}/{id}`) and the refused rows with reasons.

    UserError where a file lacks a column, nothing is left, or more than the bound is refused: then the refused rows
    lie beside `refused`, in a file that Snakemake does not delete.
    """
    source = config.sources[name]
    if isinstance(source, DERIVED):
        raise UserError(f"source {name}: kind {source.kind} is made from other sources, not read")
    if isinstance(source, MiniSource):
        problems, n_rows = _drawn(source, name, config.seed), source.size
        bad: list[Mapping[str, Any]] = []
    else:
        problems, bad, n_rows = _from_files(source, name, config.intake.max_image_pixels)
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


def _from_files(source: DataFiles, name: str, max_pixels: int) -> tuple[list[Problem], list[Mapping[str, Any]], int]:
    """(problems, refused rows, rows read). Rows are counted over all files."""
    adapter, where = adapter_of(source), locate(source)
    place = Place(name, where.images, max_pixels, where.links)
    problems: list[Problem] = []
    bad: list[Mapping[str, Any]] = []
    taken: dict[str, int] = {}
    n_rows = 0
    for number, row in enumerate(islice(rows.read(where.files, adapter.columns, adapter.hint), source.limit)):
        n_rows += 1
        if n_rows % 1000 == 0:
            print(f"{name}: row {n_rows}, {len(bad)} refused so far", file=sys.stderr)
        try:
            problem = problem_of(adapter.fields(object_of(row)), place)
            if problem.problem_id in taken:
                first = taken[problem.problem_id]
                raise RefusedError("duplicate_id", f"row {first} has the same id, and was taken")
        except RefusedError as error:
            found = {"problem_id": _id_of(row, adapter.id, name), "reason": error.reason, "detail": error.detail}
            bad.append({"source": name, "row": number, **found})
            continue
        taken[problem.problem_id] = number
        problems.append(problem)
    return grouped(problems), bad, n_rows


def _id_of(row: Any, column: str, name: str) -> str | None:
    """The id of a row that was refused, where it has one that can be written down."""
    found = row.get(column) if isinstance(row, dict) else None
    if found is None:
        return None
    return f"{name}/{found}".encode(errors="replace").decode()


def grouped(problems: Sequence[Problem]) -> list[Problem]:
    """The same problems, with one group for those that share a picture or that their source puts into one.

    Such problems are not independent: an interval resamples groups, and a problem is known where one of its group is. A
    group is called as the source calls it, else by the id of its first problem. Who shares with none keeps "".
    """
    parents: dict[str, str] = {}

    def root(key: str) -> str:
        while parents.setdefault(key, key) != key:
            parents[key] = key = parents[parents[key]]
        return key

    keys = []
    for problem in problems:
        pictures = [f"picture {hashlib.sha256(image).hexdigest()}" for image in problem.images]
        keys.append([f"id {problem.problem_id}", *([f"group {problem.group}"] if problem.group else []), *pictures])
        for key in keys[-1][1:]:
            parents[root(key)] = root(keys[-1][0])
    members: dict[str, list[Problem]] = defaultdict(list)
    for problem, (own, *_) in zip(problems, keys, strict=True):
        members[root(own)].append(problem)
    names = {
        name: next((member.group for member in found if member.group), found[0].problem_id if len(found) > 1 else "")
        for name, found in members.items()
    }
    return [replace(p, group=names[root(own)]) for p, (own, *_) in zip(problems, keys, strict=True)]
