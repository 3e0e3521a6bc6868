"""Rows that a base which reads text alone is not shown. In: the configuration, the base's shape. Out: findings.

Each stage skips and counts them; where nothing would be left the run is stopped before anything is spent.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mmprm.config import Config
from mmprm.config.data_files import DataFiles
from mmprm.config.sources import ConversationSource, MiniSource, TableSource
from mmprm.mini.stories import STORIES
from mmprm.model.step_text import NEEDS_IMAGES
from mmprm.preflight.findings import Finding, found
from mmprm.preflight.rows import count_rows
from mmprm.preflight.shape import BaseShape


def needs_images(config: Config, shape: BaseShape, results: Path) -> Iterator[Finding]:
    """List the sources whose rows have images, for a base without a vision encoder. results: of the run."""
    if shape.config.get("vision_config"):
        return
    uses = [("policy.sources", config.policy.sources, ("policy",)), ("seeds.sources", config.seeds.sources, ("seeds",))]
    for key, names, stages in uses:
        yield from _use(config, results, key, list(names), stages)
    for name, benchmark in config.benchmarks.items():
        yield from _use(config, results, f"benchmarks.{name}", [benchmark.source], ("bench",))


class Pictured(NamedTuple):
    """Which of a source's rows have images, how many, and how many there are (None: not known yet)."""

    which: Literal["all", "some", "none"]
    n: int | None
    total: int | None

    def text(self, name: str) -> str:
        """Say it of a source."""
        counted = f"{self.n} of {self.total} rows" if self.total is not None else "all rows"
        return f"{counted} of {name}"


def _use(config: Config, results: Path, key: str, names: list[str], stages: tuple[str, ...]) -> Iterator[Finding]:
    known = {name: pictured(config, name, results) for name in names}
    base = f"{config.policy.base} reads text alone"
    told = {name: rows for name, rows in known.items() if rows is not None and rows.which != "none"}
    if told and all(rows is not None and rows.which == "all" for rows in known.values()):
        about = f"every row of {', '.join(names)} has an image, and {base}"
        yield found(key, f"{about}: take others, or a vision-language model as policy.base", *stages)
    elif told:
        each = ", ".join(rows.text(name) for name, rows in told.items())
        yield found(key, f"{each} have images, and {base}: they are skipped ({NEEDS_IMAGES})", *stages, fatal=False)


def pictured(config: Config, name: str, results: Path) -> Pictured | None:
    """Return which of a source's problems have images; None where only intake will tell."""
    from mmprm.problems.adapters.published import table_columns

    source = config.sources[name]
    if (counted := _counted(results / "problems" / f"{name}.intake.json")) is not None:
        return counted
    if isinstance(source, MiniSource):  # drawn of its families in turn
        told = [family in STORIES for family in source.families]
        return _of(sum(not told[number % len(told)] for number in range(source.size)), source.size)
    if not isinstance(source, DataFiles):
        return _together([pictured(config, parent, results) for parent in source.sources])
    if isinstance(source, ConversationSource):
        return None  # row by row
    total = count_rows(config, name, results)
    # Intake takes no other rows than with an image of published data with pictures, nor of a table with such a column.
    if isinstance(source, TableSource) and "image" not in table_columns(source):
        return Pictured("none", 0, total)
    return Pictured("all", total, total)


def _counted(summary: Path) -> Pictured | None:
    """Read what intake counted; None where it has not, or not yet."""
    try:
        counts: dict[str, Any] = json.loads(summary.read_text(encoding="utf-8"))
        return _of(int(counts["with_images"]), int(counts["problems"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _of(count: int, total: int) -> Pictured:
    return Pictured("all" if count == total else "some" if count else "none", count, total)


def _together(parents: Sequence[Pictured | None]) -> Pictured | None:
    """Return what is known of a source that is made of others: which rows is decided later."""
    known = [parent for parent in parents if parent is not None]
    kinds = {parent.which for parent in known}
    if len(known) < len(parents) or len(kinds) != 1 or "some" in kinds:
        return None
    return Pictured(known[0].which, None, None)
