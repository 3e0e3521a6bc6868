"""Runs a source through intake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from taking import take_in

from mmprm.data.problem import Problem

Taken = tuple[dict[str, Problem], dict[int, str]]


@pytest.fixture
def intake(tmp_path: Path) -> Callable[..., Taken]:
    """Takes a source's settings; gives its problems by id, and {row: reason} of those refused."""

    def run(**source: Any) -> Taken:
        problems, bad = take_in(tmp_path, source, {"max_refused_share": 1})
        return {problem.problem_id.removeprefix("real/"): problem for problem in problems}, bad

    return run
