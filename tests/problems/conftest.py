"""Runs a source through intake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmprm import config, tables
from mmprm.problem import Problem, read_problems
from mmprm.problems.intake import make_source

Taken = tuple[dict[str, Problem], dict[int, str]]


@pytest.fixture
def intake(tmp_path: Path) -> Callable[..., Taken]:
    """Takes a source's settings; gives its problems by id, and {row: reason} of those refused."""

    def run(**source: Any) -> Taken:
        settings = config.load(
            {
                "run": "test",
                "sources": {
                    "real": {name: str(value) if isinstance(value, Path) else value for name, value in source.items()},
                    "drawn": {"kind": "mini", "split": "sft", "size": 1, "families": ["bars"]},
                },
                "intake": {"max_refused_share": 1},
                "policy": {"base": "none", "sources": ["drawn"]},
                "seeds": {"sources": ["drawn"]},
                "benchmarks": {"real": {"source": "real"}},
            }
        )
        out, refused = tmp_path / "out" / "real.parquet", tmp_path / "out" / "real.refused.parquet"
        make_source(settings, "real", out, refused)
        bad = tables.read_rows(refused, tables.REFUSED)
        assert all(row["detail"] and row["source"] == "real" for row in bad)
        problems = read_problems(out)
        return {p.problem_id.removeprefix("real/"): p for p in problems}, {row["row"]: row["reason"] for row in bad}

    return run
