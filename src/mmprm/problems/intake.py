"""Sources into problem tables. In: a source of the configuration. Out: its problems, its refused rows, and counts.

One bad row never stops a run, and none is dropped in silence; too many stop it (`intake.max_refused_share`). Rows are
streamed into part files (problems.parts), which are put together at the end (problems.assembly): a run that was killed
goes on from them, and a source may be larger than memory.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import PIL

from mmprm.config import Config
from mmprm.config.sources import DERIVED, DataFiles, MiniSource, ProblemFiles
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, write_problems
from mmprm.problems import checking, rows
from mmprm.problems.adapters import adapter_of
from mmprm.problems.assembly import Assembly
from mmprm.problems.checking import Tally, check, stretches
from mmprm.problems.files import locate
from mmprm.problems.parts import Checker, whole_parts
from mmprm.problems.values import Place
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log
from mmprm.runtime.progress import Progress

SUMMARY = ".intake.json"
VERSION = 1  # of how rows are checked: parts of another version are not gone on from
_NOT_ROWS = {"licence", "weight"}  # keys of a source that its rows do not depend on


def make_source(
    config: Config, name: str, out: Path, refused: Path, work: Path | None = None, workers: int = 1
) -> None:
    """Write the source's problems (ids `{source}/{id}`), the refused rows with reasons, and `out` with the ending
    .intake.json: counts of rows, problems, reasons, images and their bytes, the licence and the weight.

    work: where checked rows are kept until all are, and then removed, for they are as large as the table; None: a run
    that is killed starts anew. UserError where a file lacks a column, nothing is left, or more than the bound is
    refused: then the refused rows lie beside `refused`, in a file that Snakemake does not delete.
    """
    source = config.sources[name]
    if isinstance(source, DERIVED):
        raise UserError(f"source {name}: kind {source.kind} is made from other sources, not read")
    if isinstance(source, MiniSource):
        drawn = _drawn(source, name, config.seed)
        write_problems(out, drawn)
        tables.write(refused, [], schemas.REFUSED)
        pictures = {
            "with_images": sum(bool(problem.images) for problem in drawn),
            "images": sum(len(problem.images) for problem in drawn),
            "image_bytes": sum(len(image) for problem in drawn for image in problem.images),
        }
        counts = _counts(name, source, len(drawn), len(drawn), Counter(), pictures)
        tables.write_json(out.with_suffix(SUMMARY), counts)
    else:
        with ExitStack() as stack:
            if work is None:
                out.parent.mkdir(parents=True, exist_ok=True)
                work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{name}.")))
            counts = _from_files(config, source, name, work, workers, out, refused)
    log.info(f"{name}: {counts['problems']} problems, {_told(counts['refused'])}")


def _drawn(source: MiniSource, name: str, seed: int) -> list[Problem]:
    from mmprm.mini import problems

    drawn = problems.generate(source.split, source.size, source.families, seed)
    return [replace(problem, problem_id=f"{name}/{problem.problem_id}", source=name) for problem in drawn]


def _counts(
    name: str,
    source: MiniSource | ProblemFiles,
    n_rows: int,
    n_problems: int,
    reasons: Mapping[str, int],
    pictures: Mapping[str, int],
) -> dict[str, Any]:
    """What .intake.json holds. Licence and weight are what they were at the intake: the configuration has them now."""
    return {
        "source": name,
        "kind": source.kind,
        "licence": source.licence if isinstance(source, DataFiles) else "drawn here",
        "weight": source.weight,
        "rows": n_rows,
        "problems": n_problems,
        "refused": dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        **pictures,
    }


def _told(reasons: Mapping[str, int]) -> str:
    """`3 rows refused (2 empty_answer, 1 bad_row)`."""
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    return f"{sum(reasons.values())} rows refused" + (f" ({counts})" if counts else "")


def _from_files(
    config: Config, source: ProblemFiles, name: str, work: Path, workers: int, out: Path, refused: Path
) -> dict[str, Any]:
    """Read the source into its tables; the counts."""
    bounds, where = config.intake, locate(source)
    folder = work / f"checked-{_identity(source, name, bounds.max_image_pixels, where.files)}"
    for other in work.glob("checked-*"):
        if other != folder:  # of other settings or files
            shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    place = Place(name, where.images, bounds.max_image_pixels, where.links)
    sizes = [size for size in (source.limit, rows.count(where.files)) if size is not None]
    tally = Tally(whole_parts(folder), bounds.max_refused_share, bounds.judge_after, min(sizes, default=None))
    if tally.rows:
        log.info(f"{name}: going on after row {tally.rows}, which was checked before")
    if not tally.hopeless:
        _read(source, Checker(source, place, folder), where.files, tally, workers)
    assembly = Assembly(folder, name, tally.parts)
    counts = _counts(name, source, tally.rows, assembly.taken, assembly.reasons, assembly.pictures)
    stopped = refused.with_suffix(".stopped.parquet")
    n_refused = sum(counts["refused"].values())
    if not assembly.taken or tally.hopeless or n_refused > bounds.max_refused_share * tally.rows:
        tables.write(stopped, assembly.refused(), schemas.REFUSED)
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts["refused"].items())
        early = f" ({tally.hopeless}: it was not read to its end)" if tally.hopeless else ""
        raise UserError(
            f"source {name}: {n_refused} of {tally.rows} rows are refused ({reasons or 'there are none'}), and "
            f"{assembly.taken} problems are left; intake.max_refused_share is {bounds.max_refused_share}{early}: "
            f"mend the rows that {stopped} lists, or raise the bound"
        )
    tables.write(refused, assembly.refused(), schemas.REFUSED)
    tables.write(out, assembly.problems(), schemas.PROBLEMS)
    tables.write_json(out.with_suffix(SUMMARY), counts)
    stopped.unlink(missing_ok=True)
    shutil.rmtree(folder)
    return counts


def _read(source: ProblemFiles, checker: Checker, files: tuple[Path, ...], tally: Tally, workers: int) -> None:
    """Check the rows that are in no part yet, until there are no more, or the bound is past hope."""
    adapter = adapter_of(source)
    found = rows.read(files, adapter.columns, adapter.hint, tally.rows)
    left = islice(found, None if source.limit is None else source.limit - tally.rows)
    with Progress(checker.place.source, tally.at_most, "rows") as bar:
        for part in check(stretches(left, tally.rows, tally.done), checker, workers):
            tally.add(part)
            bar.update(tally.rows)
            if tally.hopeless:
                return


def _identity(source: ProblemFiles, name: str, max_pixels: int, files: tuple[Path, ...]) -> str:
    """A hash of what the checked rows depend on: the source's settings, its files (by size and time), and the code.

    Pictures that rows name by paths are not looked at, as Snakemake does not look at them either.
    """
    settings = source.model_dump(mode="json", exclude=_NOT_ROWS)
    there = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    about = [VERSION, checking.ROWS, checking.BYTES, PIL.__version__, name, settings, max_pixels, there]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
