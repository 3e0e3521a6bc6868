"""A few problems, kept and refused, and their images for pages and cards. In: results/<run>. Out: plain values.

They are chosen by a hash of their ids, so that the same run always shows the same ones.
"""

import base64
import hashlib
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmprm.config import Config
from mmprm.config.sources import DERIVED
from mmprm.data import schemas, tables
from mmprm.data.problem import decode_image
from mmprm.report import results
from mmprm.report.results import Row
from mmprm.runtime.errors import UserError

_THUMBNAIL_SIDE = 160  # pixels
_MAX_IMAGE = 300_000  # bytes; larger images are shown smaller
_MAX_SIDE = 640  # pixels of an image that is shown smaller
_JPEG = b"\xff\xd8\xff"
# A home folder whole, since its name is a person's; of any other path all but its last part.
_HOMES = re.compile(r"(?:file:/*|(?<![\w.:/])/)(?:home|Users)/[^\s/'\",;:]+/?|(?<![\w./])~[\w.-]*/")
_FOLDERS = re.compile(r"(?:file:/*|(?<![\w.:/…])/|…/)(?:[^\s/'\",;:]+/)+(?=[^\s/'\",;:])|file:/+")


def kept(config: Config, folder: Path) -> list[Row]:
    """Return `config.data_card.examples` of the seeds, with their pass rates."""
    decisions = [row for row in results.decisions(folder) if row["kept"]]
    chosen = _first(decisions, config.data_card.examples)
    problems = _problems([folder / "seeds" / "seeds.parquet"], [row["problem_id"] for row in chosen])
    return [_shown(row["problem_id"], problems) | {"why": _pass_rate(row)} for row in chosen]


def refused(config: Config, folder: Path) -> list[Row]:
    """Return as many refusals of each stage, of as many different reasons as there are: {stage, reason, ...}."""
    count = config.data_card.examples
    stages = [
        (
            name,
            tables.read_rows(results.existing([folder / "problems" / f"{name}.refused.parquet"]), schemas.REFUSED),
            source.sources if isinstance(source, DERIVED) else [],
        )
        for name, source in config.sources.items()
    ]
    stages.append(("seeds", [row for row in results.decisions(folder) if not row["kept"]], config.seeds.sources))
    examples = []
    for stage, rows, sources in stages:
        chosen = _of_each_reason(rows, count)
        pool = [folder / "problems" / f"{name}.parquet" for name in sources]
        problems = _problems(pool, [row["problem_id"] for row in chosen])
        for row in chosen:
            why = without_folders(row["detail"] or "") if "detail" in row else _pass_rate(row)
            shown = _shown(row["problem_id"] or f"row {row['row']}", problems)
            examples.append(shown | {"stage": stage, "reason": row["reason"], "why": why})
    return examples


def _pass_rate(decision: Row) -> str:
    return f"{decision['n_correct']} of {decision['n_rollouts']} rollouts right"


def without_folders(text: str) -> str:
    """Cut absolute paths to their last part: a card is published, and local folders must not be."""
    return _FOLDERS.sub("…/", _HOMES.sub("…/", text))


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


def thumbnail(image: bytes) -> bytes | None:
    """Return the image as a small PNG; None where it cannot be decoded."""
    return _smaller(image, _THUMBNAIL_SIDE, "PNG", optimize=True)


def data_uri(image: bytes) -> str | None:
    """Return the image as a data URI, a large one at a smaller size; None where it cannot be shown.

    It is encoded anew: a photograph's file says where and when it was taken, and by whom.
    """
    if len(image) > _MAX_IMAGE or image.startswith(_JPEG):
        kind, shown = "jpeg", _smaller(image, _MAX_SIDE if len(image) > _MAX_IMAGE else None, "JPEG", quality=85)
    else:
        kind, shown = "png", _smaller(image, None, "PNG")
    return f"data:image/{kind};base64,{base64.b64encode(shown).decode()}" if shown else None


def _smaller(image: bytes, side: int | None, kind: str, **options: Any) -> bytes | None:
    try:
        small = decode_image(image)
    except UserError:
        return None
    if side is not None:
        small.thumbnail((side, side))
    small.info.clear()  # Pillow would write the comment and the colour profile of the original
    out = io.BytesIO()
    small.save(out, kind, **options)
    return out.getvalue()
