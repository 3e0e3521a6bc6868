"""Labelled paths for the consensus filter, some of them labelled wrongly; and a folder in which they are judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmprm import config
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, write_problems
from mmprm.experiments.consensus.judge_labels import judge_labels

FILES = "consensus.parquet", "consensus.dropped.parquet", "consensus.json"


def problem(number: int, **fields: Any) -> Problem:
    fields = {"question": f"What is {number} + 1?", "answer": str(number + 1)} | fields
    return Problem(f"pool/{number:04d}", "pool", **fields)


def path(kind: str, name: str, number: int, sums: list[tuple[int, int, int]], answer: int | None) -> dict[str, Any]:
    """A row of PATHS. Its label columns are those of its kind; nothing here reads them."""
    marks = len(sums) + (answer is not None)
    hard = {"positive": [1] * marks, "negative": [1] * (marks - 1) + [0], "outcome": [None] * (marks - 1) + [0]}[kind]
    return {
        "path_id": f"{number:04d}-{name}",
        "problem_id": f"pool/{number:04d}",
        "source": "pool",
        "split": "dev" if number % 5 == 4 else "train",
        "kind": kind,
        "steps": [f"{one} + {other} = {total}" for one, other, total in sums],
        "answer": None if answer is None else str(answer),
        "n_correct": [None if one is None else 4 * one for one in hard],
        "n_rollouts": [None if one is None else 4 for one in hard],
        "hard": hard,
        "label_source": ["none" if one is None else "probed" for one in hard],
        "soft": [None if one is None else float(one) for one in hard],
    }


AGREED = {"a-right", "d-exact", "g-answer", "h-outcome"}
DROPPED = {  # name -> (labelled, judged, reason)
    "b-lucky": (-1, 1, "error_found"),
    "e-late": (2, 1, "error_earlier"),
    "f-early": (1, -1, "no_error_found"),
    "i-right-outcome": (None, -1, "no_error_found"),
}


def paths_of(number: int) -> list[dict]:
    """The paths of a problem: labels that are true, and of each kind one that is not."""
    n, same, more = number, (number, 0, number), (number, 1, number + 1)
    return [
        path("positive", "a-right", n, [same, more], n + 1),
        path("positive", "b-lucky", n, [(n, 0, 6000), more], n + 1),
        path("negative", "d-exact", n, [same, (n, 1, 5000)], None),
        path("negative", "e-late", n, [(n, 0, 6000), (n, 1, 5000)], None),
        path("negative", "f-early", n, [same], None),
        path("negative", "g-answer", n, [same, more], 4000),
        path("outcome", "h-outcome", n, [(n, 0, 6000), more], 4000),
        path("outcome", "i-right-outcome", n, [(n, 1, n + 1), (n + 1, 0, n + 1)], n + 1),
    ]


EXTRA = path("positive", "z-extra", 0, [(1, 1, 3)], 3) | {"problem_id": "shepherd/0", "source": "shepherd"}


def run_config(**judge: Any) -> config.Config:
    """A run whose labels are judged, and which has step data beside its own."""
    model = {"model": "judge", "tries": 2, "max_concurrent": 8} | judge
    return config.load(
        {
            "run": "test",
            "sources": {name: {"kind": "table", "path": f"{name}.parquet"} for name in ("pool", "test")},
            "step_data": {"shepherd": {"kind": "math_shepherd", "path": "shepherd"}},
            "policy": {"base": "base", "sources": ["pool"]},
            "seeds": {"sources": ["pool"]},
            "labels": {"extra": ["shepherd"], "consensus": model},
            "benchmarks": {"test": {"source": "test"}},
        }
    )


class Judging:
    """A folder in which the paths of some problems are judged."""

    def __init__(self, folder: Path, problems: list[Problem], rows: list[dict] | None = None) -> None:
        self.folder = folder
        self.rows = rows or [row for one in problems for row in paths_of(int(one.problem_id[-4:]))] + [EXTRA]
        write_problems(folder / "seeds.parquet", problems)
        tables.write(folder / "paths.parquet", self.rows, schemas.PATHS)

    def run(self, settings: config.Config) -> Judging:
        inputs = (self.folder / name for name in ("seeds.parquet", "paths.parquet", "work"))
        judge_labels(settings, *inputs, *(self.folder / name for name in FILES))
        return self

    @property
    def kept(self) -> list[dict]:
        return tables.read_rows(self.folder / FILES[0], schemas.PATHS)

    @property
    def dropped(self) -> list[dict]:
        return tables.read_rows(self.folder / FILES[1], schemas.DISAGREED)

    @property
    def counts(self) -> dict[str, Any]:
        return json.loads((self.folder / FILES[2]).read_text())

    @property
    def bytes(self) -> list[bytes]:
        return [(self.folder / name).read_bytes() for name in FILES]
