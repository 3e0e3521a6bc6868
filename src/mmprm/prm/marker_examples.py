"""Training examples of a PRM. In: rows of labels/paths.parquet, problems. Out: Examples with a label at each `<prm>`.

Text and markers come from `Renderer.marked`, as in scoring (specification, section 1).
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, ProblemFile
from mmprm.model.step_text import MARKER, Renderer, control_ids
from mmprm.model.tokens import cut, tokenise
from mmprm.runtime.errors import UserError
from mmprm.training import assembly
from mmprm.training.assembly import ExampleSet, Recipe, RowRange, stamp
from mmprm.training.example_shards import ShardWriter
from mmprm.training.examples import IGNORE, Example, ExampleRefusal, without_images

_ROWS_AT_ONCE = 512  # trajectories that are tokenised together
_SHARD_ROWS = 8192  # trajectories


@dataclass(frozen=True)
class ExampleBuilder:
    """Turns trajectories (rows of PATHS) into examples. label: that of the PRM variant; max_length: in tokens."""

    problems: Mapping[str, Problem] | ProblemFile
    processor: Any
    renderer: Renderer
    label: str
    max_length: int

    def build(self, rows: Sequence[Mapping[str, Any]]) -> tuple[list[Example], list[ExampleRefusal]]:
        """Return an example for each row with a label that fits, and the rows that were refused or cut.

        Raises UserError if a row's problem is unknown, or the number of markers in its tokens is not that of its labels
        (defects 4, 7 and 8).
        """
        for row in rows:
            if row["problem_id"] not in self.problems:
                raise UserError(f"path {row['path_id']}: problem {row['problem_id']} is not in the problem tables")
        readable = [self.renderer.reads(self.problems[row["problem_id"]]) for row in rows]
        unread = [row for row, reads in zip(rows, readable, strict=True) if not reads]
        skipped = [without_images(row["problem_id"], f"path {row['path_id']}: ") for row in unread]
        rows = [row for row, reads in zip(rows, readable, strict=True) if reads]
        texts = [self.renderer.marked(self.problems[row["problem_id"]], row["steps"], row["answer"]) for row in rows]
        images = [self.problems[row["problem_id"]].images for row in rows]
        marker = control_ids(self.processor.tokenizer)[MARKER]
        results = [
            self._example(row, tokens, row_images, marker)
            for row, tokens, row_images in zip(rows, tokenise(self.processor, texts, images), images, strict=True)
        ]
        examples = [example for example, _ in results if example is not None]
        return examples, skipped + [refusal for _, refusals in results for refusal in refusals]

    def _example(
        self, row: Mapping[str, Any], tokens: dict[str, np.ndarray], images: tuple[bytes, ...], marker: int
    ) -> tuple[Example | None, list[ExampleRefusal]]:
        problem_id, path = row["problem_id"], f"path {row['path_id']}"
        values = marker_labels(row, self.label)
        markers = np.flatnonzero(tokens["input_ids"] == marker)
        n_tokens, blocks = len(tokens["input_ids"]), len(row["steps"]) + (row["answer"] is not None)
        if not len(markers) == len(values) == blocks:
            raise UserError(
                f"{path} of {problem_id}: {len(markers)} markers in its tokens, {len(values)} labels, {blocks} steps "
                "and answer; remake labels/paths.parquet"
            )
        refusals = []
        if n_tokens > self.max_length:
            fitting = int((markers < self.max_length).sum())
            detail = f"{path}: {n_tokens} tokens of at most {self.max_length}"
            if fitting == 0:
                return None, [ExampleRefusal(problem_id, "too_long", detail)]
            detail += f"; {len(markers) - fitting} labels dropped"
            refusals.append(ExampleRefusal(problem_id, "cut_at_a_step", detail, excused=True))
            markers, values = markers[:fitting], values[:fitting]
        if (values == IGNORE).all():
            refusal = ExampleRefusal(problem_id, "no_label", f"{path}: no {self.label} label", excused=True)
            return None, [*refusals, refusal]
        length = int(markers[-1]) + 1
        labels = np.full(length, IGNORE, dtype=np.float32)
        labels[markers] = values
        trials = None
        if self.label == "counts":
            trials = np.ones(length, dtype=np.float32)
            trials[markers] = marker_trials(row)[: len(markers)]
        return Example(problem_id, cut(tokens, length), labels, images, trials), refusals


@dataclass(frozen=True)
class _Paths:
    """Fills a shard with the examples of rows of labels/paths.parquet: of a split, at most `most` of a problem."""

    builder: ExampleBuilder
    split: str
    most: int | None
    seed: int

    def __call__(self, part: RowRange, writer: ShardWriter) -> None:
        for rows in _problem_groups(part):
            chosen = limit_trajectories([row for row in rows if row["split"] == self.split], self.most, self.seed)
            examples, refusals = self.builder.build(chosen)
            for example in examples:
                writer.add(example)
            writer.refusals += refusals
            writer.rows += len(chosen)


def assemble(
    trajectories: Path,
    split: str,
    folder: Path,
    builder: ExampleBuilder,
    most: int | None = None,
    seed: int = 0,
    tokens: str = "",
) -> ExampleSet:
    """Write the examples of a split of labels/paths.parquet to `folder`, by all cores, a few problems in memory.

    A problem has at most `most` trajectories, drawn by `seed`. What a killed run has made is kept. tokens: fingerprint
    of the processor. Raises UserError if the table does not have the trajectories of a problem side by side.
    """
    files = builder.problems.paths if isinstance(builder.problems, ProblemFile) else ()
    settings = [split, most, seed, tokens, builder.label, builder.max_length, builder.renderer.instruction]
    fill = _Paths(builder, split, most, seed)
    recipe = Recipe(f"paths ({split})", _parts(trajectories), fill, json.dumps([*settings, *map(stamp, files)]))
    return assembly.assemble(folder, recipe)


def _parts(trajectories: Path) -> list[RowRange]:
    """Divide the table into whole problems that make a shard."""
    seen: set[str] = set()
    bounds = [0]
    row = 0
    columns = tables.batches(trajectories, schemas.PATHS, ("problem_id",))
    ids = (problem_id for part in columns for problem_id in part["problem_id"].to_pylist())
    for problem_id, group in groupby(ids):
        if problem_id in seen:
            raise UserError(f"{trajectories}: problem {problem_id!r} is in two places; delete the table and run again")
        seen.add(problem_id)
        row += sum(1 for _ in group)
        if row - bounds[-1] >= _SHARD_ROWS:
            bounds.append(row)
    if row > bounds[-1]:
        bounds.append(row)
    return [RowRange.of(trajectories, start, stop) for start, stop in pairwise(bounds)]


def _problem_groups(part: RowRange) -> Iterator[list[dict[str, Any]]]:
    """Yield rows of the table in lists of several complete problems each."""
    rows: list[dict[str, Any]] = []
    stream = tables.span(part.path, schemas.PATHS, part.start, part.stop)
    by_problem = groupby((row for table in stream for row in table.to_pylist()), key=itemgetter("problem_id"))
    for _, group in by_problem:
        rows += group
        if len(rows) >= _ROWS_AT_ONCE:
            yield rows
            rows = []
    if rows:
        yield rows


def limit_trajectories(rows: Sequence[dict[str, Any]], most: int | None, seed: int) -> list[dict[str, Any]]:
    """Draw at most `most` rows per problem by a hash of the seed and path_id, independently of the rows' order."""
    if most is None:
        return list(rows)
    by_problem: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_problem[row["problem_id"]].append(row)
    chosen = set()
    for group in by_problem.values():
        group.sort(key=lambda row: hashlib.sha256(f"{seed}/{row['path_id']}".encode()).digest())
        chosen |= {row["path_id"] for row in group[:most]}
    return [row for row in rows if row["path_id"] in chosen]


def marker_labels(row: Mapping[str, Any], label: str) -> np.ndarray:
    """Return the label of each marker of a row as float32; IGNORE if it is unknown.

    hard: the `hard` column. soft: the `soft` column. counts: n_correct / n_rollouts if there are rollouts; the verdict
    after the answer (a complete solution), and for verdicts without counts (step data). outcome: the verdict after the
    answer, and nothing at the steps.
    """
    sources = list(zip(row["hard"], row["label_source"], strict=True))
    answers = [hard if source == "answer" else None for hard, source in sources]
    if label == "counts":
        verdicts = [hard if source in ("answer", "given") else None for hard, source in sources]
        pairs = zip(row["n_correct"], row["n_rollouts"], answers, verdicts, strict=True)
        values = [right / n if n and answer is None else verdict for right, n, answer, verdict in pairs]
    else:
        values = {"hard": row["hard"], "soft": row["soft"], "outcome": answers}[label]
    return np.asarray([IGNORE if value is None else value for value in values], dtype=np.float32)


def marker_trials(row: Mapping[str, Any]) -> np.ndarray:
    """Return how many rollouts each marker's MC value is the mean of, as float32; 1 for a verdict or no label."""
    pairs = zip(row["n_rollouts"], row["label_source"], strict=True)
    return np.asarray([1 if source == "answer" or not n else n for n, source in pairs], dtype=np.float32)
