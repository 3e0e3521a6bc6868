"""Runs a source of problems through intake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmprm import config
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, read_problems
from mmprm.problems.intake import make_source


def take_in(folder: Path, source: dict[str, Any], bounds: dict[str, Any]) -> tuple[list[Problem], dict[int, str]]:
    """The problems of a source, and {row: reason} of those refused; bounds: the section intake."""
    settings = config.load(
        {
            "run": "test",
            "sources": {
                "real": {name: str(value) if isinstance(value, Path) else value for name, value in source.items()},
                "drawn": {"kind": "mini", "split": "sft", "size": 1, "families": ["bars"]},
            },
            "intake": bounds,
            "policy": {"base": "none", "sources": ["drawn"]},
            "seeds": {"sources": ["drawn"]},
            "benchmarks": {"real": {"source": "real"}},
        }
    )
    out, refused = folder / "out" / "real.parquet", folder / "out" / "real.refused.parquet"
    make_source(settings, "real", out, refused)
    bad = tables.read_rows(refused, schemas.REFUSED)
    assert all(row["detail"] and row["source"] == "real" for row in bad)
    return read_problems(out), {row["row"]: row["reason"] for row in bad}
