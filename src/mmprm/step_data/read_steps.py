"""The stage `read_steps`: published labelled steps as step paths. In: a source of `step_data`, the problem tables of
benchmarks. Out: schemas.PATHS (training data of split train, a step benchmark of split test), and their problems.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from mmprm.config import Config
from mmprm.config.sources import StepBenchmark
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, read_problems, row_of
from mmprm.labels.cleaning import path_id
from mmprm.labels.evidence import Label, StepPath
from mmprm.model.step_text import has_control
from mmprm.problems import rows
from mmprm.problems.contamination import BenchmarkProblems
from mmprm.problems.fields import RowFields, SourceContext, problem_of
from mmprm.problems.refusals import RowRefusedError, object_of, one_row, with_place
from mmprm.problems.values import text_of
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log
from mmprm.step_data.raw import RawStepRow
from mmprm.step_data.readers import OPTIONAL, READERS


def read_steps(config: Config, name: str, benchmarks: list[Path], out: Path) -> None:
    """Write the paths of step_data.`name` to `out`, and problems.parquet and refused.parquet beside it.

    benchmarks: tables of problems that are never trained on; their rows are refused as `in_benchmark`. UserError if a
    file lacks a column, no path is left, or too many rows (intake.max_refused_share) are refused for other reasons.
    """
    stage = _StepReader(name, config, BenchmarkProblems(read_problems(*benchmarks)))
    stopped = out.with_name("stopped.parquet")
    # Problems are streamed into their table because pictures are large; if the stage fails, no table is written.
    tables.write(out.with_name("problems.parquet"), stage.problem_rows(stopped), schemas.PROBLEMS)
    stage.paths.sort(key=lambda row: (row["problem_id"], row["path_id"]))
    tables.write(out.with_name("refused.parquet"), stage.refused, schemas.REFUSED)
    tables.write(out, stage.paths, schemas.PATHS)
    stopped.unlink(missing_ok=True)
    log.info(f"{name}: {stage.summary()}")


class _StepReader:
    """Reads one source; `paths` and `refused` are complete when `problem_rows` is exhausted."""

    def __init__(self, name: str, config: Config, known: BenchmarkProblems) -> None:
        self.name, self.source, self.intake, self.known = name, config.step_data[name], config.intake, known
        self.paths: list[dict[str, Any]] = []
        self.refused: list[dict[str, Any]] = []

    def problem_rows(self, stopped: Path) -> Iterator[dict[str, Any]]:
        """Yield the problems of the paths, each once, as rows of schemas.PROBLEMS."""
        (columns, read), files = READERS[self.source.kind], rows.find_files(self.source)
        context = SourceContext(self.name, files.images, self.intake.max_image_pixels, files.links)
        names = {column: column for column in columns}
        hint = f"this is not {self.source.kind} as it was published"
        source_rows = rows.read(files.files, names, hint, also=OPTIONAL.get(self.source.kind, ()))
        benchmark_of: dict[str, str | None] = {}  # for each problem, the equal problem of a benchmark
        path_ids: set[str] = set()
        n_rows = 0
        for number, row in enumerate(islice(source_rows, self.source.limit)):
            n_rows, problem_id = number + 1, None
            try:
                with one_row():
                    raw = read(object_of(row))
                    problem, path = _labelled_path(raw, context)
                problem_id = problem.problem_id
                if new := problem_id not in benchmark_of:
                    benchmark_of[problem_id] = self.known.match(problem)
                if why := benchmark_of[problem_id]:
                    raise RowRefusedError("in_benchmark", why)
                identity = path_id(problem_id, path)
                if identity in path_ids:
                    raise RowRefusedError("duplicate_id", "the same solution of the same problem was taken")
            except RowRefusedError as error:
                refusal = {"problem_id": problem_id, "reason": error.reason, "detail": with_place(row, error.detail)}
                self.refused.append({"source": self.name, "row": number, **refusal})
                continue
            path_ids.add(identity)
            self.paths.append(self._path_row(identity, problem_id, path, raw))
            if new:
                yield row_of(problem)
        self._check_share(n_rows, stopped)

    def _path_row(self, identity: str, problem_id: str, path: StepPath, raw: RawStepRow) -> dict[str, Any]:
        split = "test" if isinstance(self.source, StepBenchmark) else "train"
        row = {"path_id": identity, "problem_id": problem_id, "source": self.name, "split": split}
        labels, soft = raw.labels, raw.soft
        if soft is None:
            soft = [(label.n_correct or 0) / label.n_rollouts if label.n_rollouts else label.hard for label in labels]
        columns = {field: [getattr(label, field) for label in labels] for field in Label._fields}
        return row | vars(path) | {"steps": list(path.steps), "soft": soft} | columns

    def _check_share(self, n_rows: int, stopped: Path) -> None:
        bad = sum(row["reason"] != "in_benchmark" for row in self.refused)
        if not self.paths or bad > self.intake.max_refused_share * n_rows:
            tables.write(stopped, self.refused, schemas.REFUSED)
            raise UserError(
                f"step_data.{self.name}: of {n_rows} rows {self.summary()}; intake.max_refused_share is "
                f"{self.intake.max_refused_share}: fix the rows that {stopped} lists, or raise the bound"
            )

    def summary(self) -> str:
        """Say how many paths were taken, and how many rows were refused for which reasons."""
        reasons = Counter(row["reason"] for row in self.refused).most_common()
        counts = ", ".join(f"{count} {reason}" for reason, count in reasons)
        return f"{len(self.paths)} paths taken, {len(self.refused)} refused" + (f" ({counts})" if counts else "")


def _labelled_path(row: RawStepRow, context: SourceContext) -> tuple[Problem, StepPath]:
    """Return the problem, and its solution. Raises RowRefusedError if one, or a label, is not usable.

    A problem's id is a hash of what is shown and of the subset, so that the solutions of one problem share it.
    """
    if not isinstance(row.steps, list) or len(row.steps) + (row.final is not None) != len(row.labels):
        raise RowRefusedError("bad_value", f"{len(row.labels)} labels do not belong to the steps")
    steps = tuple(_block(step, "a step") for step in row.steps)
    final = None if row.final is None else _block(row.final, "the answer")
    if all(label.hard is None for label in row.labels):
        raise RowRefusedError("no_label", "no step has a label")
    shown = (row.question, row.answer, row.image)
    fields = RowFields("-", *shown, row.has_image, has_answer=False, family=row.subset, **row.further)
    problem = problem_of(fields, context)
    digest = hashlib.sha256(f"{problem.fingerprint}\x1f{problem.family}".encode()).hexdigest()[:16]
    return replace(problem, problem_id=f"{context.source}/{digest}"), StepPath(row.kind, steps, final)


def _block(value: Any, name: str) -> str:
    text = text_of(value, name).strip()
    if not text:
        raise RowRefusedError("bad_value", f"{name} is blank")
    if has_control(text):
        raise RowRefusedError("control_string", f"a tag or model token stands in {text!r:.80}")
    return text
