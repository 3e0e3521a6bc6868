"""The command `intake`. In: a source of the configuration. Out: its problem table, its refused rows, and counts.

Bad rows are refused with a reason; too many of them stop the run (`intake.max_refused_share`). Rows are streamed into
part files (parts.py), which are merged at the end (merge_parts.py): a killed run resumes from them, and a source
may be larger than memory.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import PIL

from mmprm.config import Config
from mmprm.config.data_files import DataFiles, ProblemFiles
from mmprm.config.sources import DERIVED, MiniSource
from mmprm.data import schemas, tables
from mmprm.data.problem import write_problems
from mmprm.problems import parts, rows
from mmprm.problems.adapters import adapter_of
from mmprm.problems.fields import SourceContext
from mmprm.problems.merge_parts import MergedParts
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log
from mmprm.runtime.progress import Progress

SUMMARY = ".intake.json"
VERSION = 2  # of the checks: parts of another version are not used
_SHOWN = 3  # refused rows that are shown on the terminal
_NOT_ROWS = {"licence", "weight"}  # keys of a source on which its rows do not depend


def make_source(
    config: Config, name: str, out: Path, refused: Path, work: Path | None = None, workers: int = 1
) -> None:
    """Write the source's problems (ids `{source}/{id}`), the refused rows with reasons, and the counts.

    The counts, of rows, problems, reasons, images and their bytes, are in `out` with the suffix .intake.json.

    work: the folder of the parts, which are as large as the table and are removed at the end; None: a killed run cannot
    be resumed. UserError where a file lacks a column, no problem is left, or more rows than the bound are refused: the
    refused rows are then in a file beside `refused` that Snakemake does not delete.
    """
    source = config.sources[name]
    if isinstance(source, DERIVED):
        raise UserError(f"source {name}: kind {source.kind} is made from other sources, not read")
    if isinstance(source, MiniSource):
        from mmprm.mini import problems

        if source.split == "sealed" and source.seed is None:
            raise UserError(
                f"sources.{name}: the problems of a sealed test are drawn at its first look, by `snakemake sealed`"
            )
        seed = config.seed if source.seed is None else source.seed
        drawn = [
            replace(problem, problem_id=f"{name}/{problem.problem_id}", source=name)
            for problem in problems.generate(source.split, source.size, source.families, seed, source.wrong_routes)
        ]
        write_problems(out, drawn)
        tables.write(refused, [], schemas.REFUSED)
        counts = _counts(name, source, len(drawn), {}) | {
            "with_images": sum(bool(problem.images) for problem in drawn),
            "images": sum(len(problem.images) for problem in drawn),
            "image_bytes": sum(len(image) for problem in drawn for image in problem.images),
        }
        tables.write_json(out.with_suffix(SUMMARY), counts)
    else:
        with ExitStack() as stack:
            if work is None:
                out.parent.mkdir(parents=True, exist_ok=True)
                work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{name}.")))
            counts = _from_files(config, source, name, work, workers, out, refused)
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts["refused"].items())
    refusals = f"{sum(counts['refused'].values())} rows refused" + (f" ({reasons})" if reasons else "")
    log.info(f"{name}: {counts['problems']} problems, {refusals}")


def _counts(name: str, source: MiniSource | ProblemFiles, n_rows: int, reasons: Mapping[str, int]) -> dict[str, Any]:
    """Make the first part of .intake.json. Licence and weight are those at the time of intake."""
    return {
        "source": name,
        "kind": source.kind,
        "licence": source.licence if isinstance(source, DataFiles) else "drawn here",
        "weight": source.weight,
        "rows": n_rows,
        "problems": n_rows - sum(reasons.values()),
        "refused": dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
    }


def _from_files(
    config: Config, source: ProblemFiles, name: str, work: Path, workers: int, out: Path, refused: Path
) -> dict[str, Any]:
    """Read the source and write its tables; returns the counts."""
    bounds, located = config.intake, rows.find_files(source)
    folder = work / f"checked-{_identity(source, name, bounds.max_image_pixels, located.files)}"
    for other in work.glob("checked-*"):
        if other != folder:  # of other settings or files
            shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    context = SourceContext(name, located.images, bounds.max_image_pixels, located.links)
    sizes = [size for size in (source.limit, rows.count(located.files)) if size is not None]
    finished = parts.finished_parts(folder)
    progress = parts.IntakeProgress(finished, bounds.max_refused_share, bounds.judge_after, min(sizes, default=None))
    if progress.rows:
        log.info(f"{name}: going on after row {progress.rows}, which was checked before")
    if not progress.hopeless:
        adapter = adapter_of(source)
        unchecked = rows.read(located.files, adapter.columns, adapter.hint, progress.rows, adapter.also)
        left = islice(unchecked, None if source.limit is None else source.limit - progress.rows)
        make_part = parts.PartMaker(source, context, folder)
        with Progress(name, progress.at_most, "rows") as bar:
            for part in parts.check_parts(parts.cut_parts(left, progress.rows, progress.done), make_part, workers):
                progress.add(part)
                bar.update(progress.rows)
                if progress.hopeless:
                    break
    merged = MergedParts(folder, name, progress.parts)
    counts = _counts(name, source, progress.rows, merged.reasons) | merged.pictures
    stopped = refused.with_suffix(".stopped.parquet")
    n_refused = sum(counts["refused"].values())
    if not merged.taken or progress.hopeless or n_refused > bounds.max_refused_share * progress.rows:
        tables.write(stopped, merged.refused(), schemas.REFUSED)
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts["refused"].items())
        early = f" ({progress.hopeless}: reading ended early)" if progress.hopeless else ""
        lost = counts["refused"].get("missing_file", 0)
        folder_hint = f"; images are looked for in {located.images}: is `images` right?" if 2 * lost > n_refused else ""
        raise UserError(
            f"source {name}: {n_refused} of {progress.rows} rows are refused ({reasons}), and "
            f"{merged.taken} problems are left; intake.max_refused_share is {bounds.max_refused_share}{early}: "
            f"fix the rows that {stopped} lists (`mmprm look`), or raise the bound{folder_hint}{_first_refused(merged)}"
        )
    for line in _first_refused(merged).splitlines()[1:]:
        log.info(f"{name}: {line.strip()}")
    tables.write(refused, merged.refused(), schemas.REFUSED)
    tables.write(out, merged.problems(), schemas.PROBLEMS)
    tables.write_json(out.with_suffix(SUMMARY), counts)
    stopped.unlink(missing_ok=True)
    shutil.rmtree(folder)
    return counts


def _first_refused(merged: MergedParts) -> str:
    """Say for the first refused rows where they stand and why, each on a line of its own."""
    shown = (f"{row['detail']} ({row['reason']})" for row in islice(merged.refused(), _SHOWN))
    return "".join("\n  " + " ".join(line.split()) for line in shown)


def _identity(source: ProblemFiles, name: str, max_pixels: int, files: tuple[Path, ...]) -> str:
    """Hash what the checked rows depend on: the source's settings, its files (by size and time), and the code.

    Images that rows name by paths are not included, as Snakemake does not track them either.
    """
    settings = source.model_dump(mode="json", exclude=_NOT_ROWS)
    stats = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    about = [VERSION, parts.ROWS, parts.BYTES, PIL.__version__, name, settings, max_pixels, stats]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
