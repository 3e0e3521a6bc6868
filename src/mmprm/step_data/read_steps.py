"""Step data into paths. In: a source of `step_data`, and benchmark problems. Out: schemas.PATHS, and its problems.

Training data is of split train, a step benchmark of split test; its paths are of the kind `given`. A problem of a
benchmark is never trained on: its rows are refused with the reason `in_benchmark`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from mmprm.config import Config
from mmprm.config.sources import DataFiles, StepBenchmark
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, read_problems, row_of
from mmprm.labels.evidence import Label, StepPath
from mmprm.labels.selection import path_id
from mmprm.model.step_text import has_control
from mmprm.problems import rows
from mmprm.problems.files import locate
from mmprm.problems.images import RowRefusedError
from mmprm.problems.overlap import Known
from mmprm.problems.values import Fields, Place, object_of, problem_of, text_of
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log
from mmprm.step_data import math_shepherd, prmbench, processbench, visualprm400k, visualprocessbench
from mmprm.step_data.raw_step_row import RawStepRow

# Each has COLUMNS, which the files must have, and read(row).
_READERS: dict[str, Any] = {
    "visualprm400k": visualprm400k,
    "math_shepherd": math_shepherd,
    "visualprocessbench": visualprocessbench,
    "processbench": processbench,
    "prmbench": prmbench,
}


def read_steps(config: Config, name: str, benchmarks: list[Path], out: Path) -> None:
    """Write the paths of step_data.`name` to `out`, and problems.parquet and refused.parquet beside it.

    benchmarks: problem tables whose problems are not to be in it. UserError where a file lacks a column, no path is
    left, or more than intake.max_refused_share of the rows is refused for another reason than `in_benchmark`.
    """
    source = config.step_data[name]
    stage = _Intake(name, source, config, Known(read_problems(*benchmarks)))
    # Problems are streamed into their table, since pictures are large; where the stage fails, none is written.
    tables.write(out.with_name("problems.parquet"), stage.problems(out.with_name("stopped.parquet")), schemas.PROBLEMS)
    stage.paths.sort(key=lambda row: (row["problem_id"], row["path_id"]))
    tables.write(out.with_name("refused.parquet"), stage.refused, schemas.REFUSED)
    tables.write(out, stage.paths, schemas.PATHS)
    out.with_name("stopped.parquet").unlink(missing_ok=True)
    log.info(f"{name}: {stage.summary()}")


class _Intake:
    """Reads one source; `paths` and `refused` are whole when `problems` has come to its end."""

    def __init__(self, name: str, source: DataFiles, config: Config, known: Known) -> None:
        self.name, self.source, self.config, self.known = name, source, config, known
        self.paths: list[dict[str, Any]] = []
        self.refused: list[dict[str, Any]] = []

    def problems(self, stopped: Path) -> Iterator[dict[str, Any]]:
        """The problems of the paths, each once, as rows of schemas.PROBLEMS."""
        reader, where = _READERS[self.source.kind], locate(self.source)
        place = Place(self.name, where.images, self.config.intake.max_image_pixels, where.links)
        columns = {column: column for column in reader.COLUMNS}
        found = rows.read(where.files, columns, f"this is not {self.source.kind} as it was published")
        split = "test" if isinstance(self.source, StepBenchmark) else "train"
        checked: dict[str, str | None] = {}  # problem -> the benchmark's problem that it is
        taken: set[str] = set()
        number = -1
        for number, row in enumerate(islice(found, self.source.limit)):
            problem_id = None
            try:
                problem, path, labels = labelled_path(reader.read(object_of(row)), place)
                problem_id = problem.problem_id
                if new := problem_id not in checked:
                    checked[problem_id] = self.known.why(problem)
                if why := checked[problem_id]:
                    raise RowRefusedError("in_benchmark", why)
                identity = path_id(problem_id, path)
                if identity in taken:
                    raise RowRefusedError("duplicate_id", "the same solution of the same problem was taken")
            except RowRefusedError as error:
                self._refuse(number, problem_id, error)
                continue
            taken.add(identity)
            common = {"path_id": identity, "problem_id": problem_id, "source": self.name, "split": split}
            columns_of = {field: [getattr(label, field) for label in labels] for field in Label._fields}
            soft = [(label.n_correct or 0) / label.n_rollouts if label.n_rollouts else label.hard for label in labels]
            self.paths.append(common | vars(path) | {"steps": list(path.steps), "soft": soft} | columns_of)
            if new:
                yield row_of(problem)
        self._bound(number + 1, stopped)

    def _refuse(self, number: int, problem_id: str | None, error: RowRefusedError) -> None:
        found = {"problem_id": problem_id, "reason": error.reason, "detail": error.detail}
        self.refused.append({"source": self.name, "row": number, **found})

    def _bound(self, n_rows: int, stopped: Path) -> None:
        bad = sum(row["reason"] != "in_benchmark" for row in self.refused)
        if not self.paths or bad > self.config.intake.max_refused_share * n_rows:
            tables.write(stopped, self.refused, schemas.REFUSED)
            raise UserError(
                f"step_data.{self.name}: of {n_rows} rows {self.summary()}; intake.max_refused_share is "
                f"{self.config.intake.max_refused_share}: mend the rows that {stopped} lists, or raise the bound"
            )

    def summary(self) -> str:
        """How many paths, and how many rows were refused for what."""
        reasons = Counter(row["reason"] for row in self.refused).most_common()
        counts = ", ".join(f"{count} {reason}" for reason, count in reasons)
        return f"{len(self.paths)} paths taken, {len(self.refused)} refused" + (f" ({counts})" if counts else "")


def labelled_path(found: RawStepRow, place: Place) -> tuple[Problem, StepPath, list[Label]]:
    """The problem, its solution, and a label for each step; RefusedError where one of them is not usable.

    A problem's id is a hash of what is shown and of the subset, so that solutions of one problem share it.
    """
    if not isinstance(found.steps, list) or len(found.steps) != len(found.labels):
        raise RowRefusedError("bad_value", f"{len(found.labels)} labels do not belong to the steps")
    steps = tuple(text_of(step, "a step").strip() for step in found.steps)
    for step in steps:
        if not step:
            raise RowRefusedError("bad_value", "a step is blank")
        if has_control(step):
            raise RowRefusedError("control_string", f"a tag or model token stands in {step!r:.80}")
    if all(label.hard is None for label in found.labels):
        raise RowRefusedError("no_label", "no step has a label")
    fields = Fields(
        "-",
        found.question,
        found.answer,
        found.image,
        has_image=found.has_image,
        has_answer=False,
        family=found.subset,
    )
    problem = problem_of(fields, place)
    digest = hashlib.sha256(f"{problem.fingerprint}\x1f{problem.family}".encode()).hexdigest()[:16]
    problem = replace(problem, problem_id=f"{place.source}/{digest}")
    return problem, StepPath("given", steps, None), found.labels
