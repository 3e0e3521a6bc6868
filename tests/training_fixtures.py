"""What the tests of both trainings share: a configuration with the mini model as its base, and labelled paths."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmprm import config
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, write_problems
from mmprm.model.step_text import parse

SETTINGS = {"learning_rate": 2e-3, "batch_size": 6, "micro_batch_size": 3, "max_length": 256, "precision": "fp32"}


def config_of(
    base: Path,
    variants: dict[str, Any] | None = None,
    intake: dict[str, Any] | None = None,
    replicates: int = 1,
    **training: Any,
) -> config.Config:
    """A configuration with this base model; `training` goes into both trainings, the others to their places."""
    settings = SETTINGS | training
    of_policy = {key: value for key, value in settings.items() if key != "keep_best"}  # which has none
    return config.load(
        {
            "run": "test",
            "sources": {
                "mini": {"kind": "mini", "split": "sft", "size": 12, "families": ["bars"]},
                "test": {"kind": "mini", "split": "test", "size": 12, "families": ["bars"]},
            },
            "intake": intake or {},
            "policy": {"base": str(base), "sources": ["mini"], "training": of_policy},
            "seeds": {"sources": ["mini"]},
            "prm": {"training": settings, "variants": variants or {"soft": {}}, "replicates": replicates},
            "benchmarks": {"test": {"source": "test"}},
        }
    )


@pytest.fixture(scope="session")
def training_config(mini_model_folder: Path) -> Callable[..., config.Config]:
    """Makes configurations with the mini model as the base: see `config_of`."""
    return functools.partial(config_of, mini_model_folder)


def labelled_path(problem: Problem, good: bool, **changes: Any) -> dict[str, Any]:
    """A PATHS row: the problem's solution; bad ones are cut after the second step, whose label is 0."""
    parsed = parse(problem.solution or "")
    steps = list(parsed.steps) if good else [parsed.steps[0], "so it is wrong"]
    answer = parsed.answer if good else None
    n = len(steps)
    row = {
        "path_id": f"{problem.problem_id}/{'good' if good else 'bad'}",
        "problem_id": problem.problem_id,
        "source": "mini",
        "split": "train",
        "kind": "positive" if good else "negative",
        "steps": steps,
        "answer": answer,
        "n_correct": [4, *[None] * (n - 1), 1] if good else [4, 0],
        "n_rollouts": [8, *[None] * (n - 1), 1] if good else [8, 8],
        "hard": [1] * (n + 1) if good else [1, 0],
        "label_source": ["probed", *["implied"] * (n - 1), "answer"] if good else ["probed", "probed"],
        "soft": [0.5, *[None] * (n - 1), 1.0] if good else [0.5, 0.0],
    }
    return row | changes


@pytest.fixture(scope="session")
def path_row() -> Callable[..., dict[str, Any]]:
    """Makes PATHS rows of a problem."""
    return labelled_path


@pytest.fixture
def prm_tables(mini_problems: list[Problem], tmp_path: Path) -> tuple[Path, Path]:
    """(seeds table, paths table): a good and a bad path of each problem; the last four problems are held out."""
    dev = {problem.problem_id for problem in mini_problems[-4:]}
    rows = [
        labelled_path(problem, good, split="dev" if problem.problem_id in dev else "train")
        for problem in mini_problems
        for good in (True, False)
    ]
    seeds, paths = tmp_path / "seeds.parquet", tmp_path / "paths.parquet"
    write_problems(seeds, mini_problems)
    tables.write(paths, rows, schemas.PATHS)
    return seeds, paths
