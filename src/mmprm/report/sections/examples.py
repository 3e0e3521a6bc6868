"""A few problems, kept and refused, with thumbnails. In: results/<run>. Out: plain values.

They are chosen by a hash of their ids, so that the same run always shows the same ones.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmprm.config import Config
from mmprm.config.sources import DERIVED
from mmprm.data import schemas, tables
from mmprm.report import results
from mmprm.report.sections.images import thumbnail

Row = dict[str, Any]

_FOLDERS = re.compile(r"(?<![\w.:/])/(?:[^\s/'\",;:]+/)+(?=[^\s/'\",;:])")


def kept(config: Config, folder: Path) -> list[Row]:
    """Return `config.data_card.examples` of the seeds, with their pass rates."""
    decisions = [row for row in results.decisions(folder) if row["kept"]]
    chosen = _first(decisions, config.data_card.examples)
    problems = _problems([folder / "seeds" / "seeds.parquet"], [row["problem_id"] for row in chosen])
    return [_shown(row["problem_id"], problems) | {"why": _pass_rate(row)} for row in chosen]


def refused(config: Config, folder: Path) -> list[Row]:
    """Return as many refusals of each stage, of as many different reasons as there are: {stage, reason, ...}."""
    examples = []
    for name, source in config.sources.items():
        rows = tables.read_rows(results.existing([folder / "problems" / f"{name}.refused.parquet"]), schemas.REFUSED)
        chosen = _of_each_reason(rows, config.data_card.examples)
        parents = [folder / "problems" / f"{parent}.parquet" for parent in getattr(source, "sources", [])]
        problems = _problems(parents, [row["problem_id"] for row in chosen]) if isinstance(source, DERIVED) else {}
        for row in chosen:
            shown = _shown(row["problem_id"] or f"row {row['row']}", problems)
            examples.append(
                shown | {"stage": name, "reason": row["reason"], "why": without_folders(row["detail"] or "")}
            )
    dropped = [row for row in results.decisions(folder) if not row["kept"]]
    chosen = _of_each_reason(dropped, config.data_card.examples)
    pool = [folder / "problems" / f"{name}.parquet" for name in config.seeds.sources]
    problems = _problems(pool, [row["problem_id"] for row in chosen])
    return examples + [
        _shown(row["problem_id"], problems) | {"stage": "seeds", "reason": row["reason"], "why": _pass_rate(row)}
        for row in chosen
    ]


def _pass_rate(decision: Row) -> str:
    return f"{decision['n_correct']} of {decision['n_rollouts']} rollouts right"


def without_folders(text: str) -> str:
    """Cut absolute paths to their last part: a card is published, and local folders must not be."""
    return _FOLDERS.sub("…/", text)


def _shown(name: str, problems: dict[str, Row]) -> Row:
    problem = problems.get(name)
    if problem is None:
        return {"problem_id": name, "question": None, "choices": [], "answer": None, "thumbnail": None}
    pictures = problem["images"] or []
    return {
        "problem_id": name,
        "question": problem["question"],
        "choices": problem["choices"] or [],
        "answer": problem["answer"],
        "thumbnail": thumbnail(pictures[0]) if pictures else None,
    }


def _problems(paths: Sequence[Path], names: Sequence[str | None]) -> dict[str, Row]:
    wanted = [name for name in names if name is not None]
    if not wanted:
        return {}
    tables_of = (tables.read(path, schemas.PROBLEMS, wanted).to_pylist() for path in results.existing(paths))
    return {row["problem_id"]: row for rows in tables_of for row in rows}


def _of_each_reason(rows: Iterable[Row], count: int) -> list[Row]:
    """Return `count` rows, taken in turn from the reasons, the most frequent first."""
    by_reason: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_reason[row["reason"]].append(row)
    turns = [
        (turn, -len(same), reason, row)
        for reason, same in by_reason.items()
        for turn, row in enumerate(_first(same, count))
    ]
    return [row for *_, row in sorted(turns, key=lambda item: item[:3])[:count]]


def _first(rows: Sequence[Row], count: int) -> list[Row]:
    return sorted(rows, key=lambda row: hashlib.sha256(repr(row["problem_id"]).encode()).digest())[:count]
