"""The labels of a run as tables that stand alone, with their problems' texts and pictures. In: a run. Out: parquet.

`labels`: every path with all that is known at its markers, which kind `exported` of step_data reads back. `stepwise`:
prompt, completions and labels, as TRL and others train on, and kind `math_shepherd` reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, ProblemFile, stream_problems
from mmprm.hub import features
from mmprm.hub.features import IMAGES, pictures
from mmprm.model.step_text import question_text

# A problem's columns, without its solution: that is the sources' own.
_PROBLEM = [field for field in schemas.PROBLEMS if field.name not in ("images", "solution")]
PROBLEMS = pa.schema([*_PROBLEM, ("images", IMAGES)])
LABELS = pa.schema(
    [
        *[field for field in schemas.PATHS if field.name != "answer"],
        ("final_answer", pa.string()),  # of the path; `answer` is the problem's
        *[field for field in _PROBLEM if field.name not in ("problem_id", "source")],
        ("images", IMAGES),
    ]
)
STEPWISE = pa.schema(
    [
        ("prompt", pa.string()),
        ("completions", pa.list_(pa.string())),
        ("labels", pa.list_(pa.bool_())),
        ("images", IMAGES),
        ("path_id", pa.string()),
        ("split", pa.string()),
    ]
)


def write_problems(problems: list[Path], out: Path) -> int:
    """Write the problems of tables that are ordered by id; returns how many."""
    return features.write(out, (_problem_row(problem) for problem in stream_problems(*problems)), PROBLEMS)


def _problem_row(problem: Problem) -> dict[str, Any]:
    row = {field.name: getattr(problem, field.name) for field in _PROBLEM}
    return row | {name: list(row[name]) for name in ("choices", "tolerance")} | {"images": pictures(problem.images)}


def write_labels(paths: Path, problems: list[Path], out: Path) -> int:
    """Write every path of labels/paths.parquet; returns how many."""
    return features.write(out, _label_rows(paths, ProblemFile(*problems)), LABELS)


def _label_rows(paths: Path, problems: ProblemFile) -> Iterator[dict[str, Any]]:
    for row in _rows(paths):
        final = row.pop("answer")
        yield _problem_row(problems[row["problem_id"]]) | row | {"final_answer": final}


def write_stepwise(paths: Path, problems: list[Path], out: Path) -> int:
    """Write each path up to its first step of unknown label, if a step is left; returns how many were written.

    A label says whether the step is right (the hard label). The answer is not among the completions.
    """
    return features.write(out, _stepwise_rows(paths, ProblemFile(*problems)), STEPWISE)


def _stepwise_rows(paths: Path, problems: ProblemFile) -> Iterator[dict[str, Any]]:
    for row in _rows(paths):
        hard = row["hard"][: len(row["steps"])]
        known = hard.index(None) if None in hard else len(hard)
        if known:
            problem = problems[row["problem_id"]]
            yield {
                "prompt": question_text(problem),
                "completions": row["steps"][:known],
                "labels": [bool(label) for label in hard[:known]],
                "images": pictures(problem.images),
                "path_id": row["path_id"],
                "split": row["split"],
            }


def _rows(paths: Path) -> Iterator[dict[str, Any]]:
    for part in tables.batches(paths, schemas.PATHS):
        yield from part.to_pylist()
