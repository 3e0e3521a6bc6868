"""Examples of supervised fine-tuning. In: problems with step-tagged solutions. Out: Examples, or a store of them.

The loss is on the solution alone, the end of the turn included (specification, section 1).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, of_row
from mmprm.model import folders
from mmprm.model.step_text import STEP_CLOSE, STEP_OPEN, Renderer, Status, control_ids, parse
from mmprm.model.tokens import cut, tokenise
from mmprm.runtime.errors import UserError
from mmprm.training.assembly import ExampleSet, Recipe, RowRange, assemble
from mmprm.training.example_shards import ShardWriter
from mmprm.training.examples import IGNORE, Example, ExampleRefusal, without_images

_SHARD_ROWS, _SHARD_BYTES = 4096, 2**29  # of a table, whichever is reached first
_ROWS_AT_ONCE = 64  # in memory and tokenised together


@dataclass(frozen=True)
class _Solutions:
    """Fills a shard with the examples of rows of a problem table."""

    start: Path
    instruction: str
    max_length: int
    weights: Mapping[str, float]
    seed: int

    @cached_property
    def _renderer(self) -> Renderer:
        return Renderer(folders.load_processor(self.start), self.instruction)

    def __call__(self, part: RowRange, writer: ShardWriter) -> None:
        for table in tables.span(part.path, schemas.PROBLEMS, part.start, part.stop, _ROWS_AT_ONCE):
            problems = [of_row(row) for row in table.to_pylist()]
            times = {row.problem_id: times_repeated(row, self.weights, self.seed) for row in problems}
            chosen = [row for row in problems if times[row.problem_id]]
            examples, refusals = supervised_examples(chosen, self._renderer.processor, self._renderer, self.max_length)
            for example in examples:
                writer.add(example, times[example.problem_id])
            writer.refusals += refusals
            writer.rows += len(chosen)


def assemble_solutions(
    problems: Sequence[Path],
    start: Path,
    folder: Path,
    instruction: str = "",
    max_length: int = 8192,
    weights: Mapping[str, float] | None = None,
    seed: int = 0,
) -> ExampleSet:
    """Write the examples of problem tables to `folder`, by all cores; what a killed run has made is kept.

    start: the model folder whose processor makes the tokens; weights: by source, see `times_repeated`.
    """
    fill = _Solutions(start, instruction, max_length, dict(weights or {}), seed)
    settings = [folders.token_fingerprint(start), instruction, max_length, sorted(fill.weights.items()), seed]
    parts = [part for path in problems for part in shards_of(path)]
    return assemble(folder, Recipe("policy", parts, fill, json.dumps(settings)))


def shards_of(path: Path) -> list[RowRange]:
    """Divide a table into whole row groups that make a shard."""
    parts: list[RowRange] = []
    start = stop = size = 0
    for n_rows, n_bytes in tables.group_sizes(path, schemas.PROBLEMS):
        stop, size = stop + n_rows, size + n_bytes
        if stop - start >= _SHARD_ROWS or size >= _SHARD_BYTES:
            parts.append(RowRange.of(path, start, stop))
            start, size = stop, 0
    return parts + ([RowRange.of(path, start, stop)] if stop > start else [])


def times_repeated(problem: Problem, weights: Mapping[str, float], seed: int) -> int:
    """Return how often an epoch has a problem: its source's weight (default 1), fractions by a hash of seed and id."""
    times, fraction = divmod(weights.get(problem.source, 1.0), 1)
    digest = hashlib.sha256(f"weight {seed} {problem.problem_id}".encode()).digest()
    return int(times) + (int.from_bytes(digest[:8], "big") < fraction * 2**64)


def supervised_examples(
    problems: Sequence[Problem], processor: Any, renderer: Renderer, max_length: int
) -> tuple[list[Example], list[ExampleRefusal]]:
    """Return an example for each problem with a solution that parses and fits, and refusals with the reason.

    A solution that is too long is cut after the last step that fits; if no step fits, the row is refused.
    """
    ids = control_ids(processor.tokenizer)
    refusals, parsed_problems, texts = [], [], []
    for problem in problems:
        if not renderer.reads(problem):
            refusals.append(without_images(problem.problem_id))
            continue
        if problem.solution is None:
            refusals.append(ExampleRefusal(problem.problem_id, "no_solution", "the row has no solution"))
            continue
        parsed = parse(problem.solution)
        if parsed.status is not Status.OK or parsed.answer is None:
            detail = f"its solution is not <step>…</step>…<answer>…</answer> ({parsed.status.value}); "
            detail += "a source of kind tagged puts a raw one into steps"
            refusals.append(ExampleRefusal(problem.problem_id, "unparsed_solution", detail))
            continue
        parsed_problems.append((problem, len(parsed.steps)))
        texts.append("".join(renderer.supervised(problem, parsed.steps, parsed.answer)))

    examples = []
    images = [problem.images for problem, _ in parsed_problems]
    for (problem, n_steps), tokens in zip(parsed_problems, tokenise(processor, texts, images), strict=True):
        sequence = tokens["input_ids"]
        # Not the length of a prompt tokenised by itself: the solution starts at the first of its own <step> tokens.
        opened = np.flatnonzero(sequence == ids[STEP_OPEN])
        if len(opened) < n_steps:
            raise UserError(f"{problem.problem_id}: {n_steps} steps gave {len(opened)} <step> tokens")
        start, length = int(opened[-n_steps]), len(sequence)
        if length > max_length:
            closed = np.flatnonzero(sequence == ids[STEP_CLOSE]) + 1
            fitting = closed[(closed > start) & (closed <= max_length)]
            detail = f"{length} tokens of at most {max_length}, {start} of them before the solution"
            if len(fitting) == 0:
                refusals.append(ExampleRefusal(problem.problem_id, "too_long", detail))
                continue
            length = int(fitting[-1])
            refusals.append(ExampleRefusal(problem.problem_id, "cut_at_a_step", detail, excused=True))
        labels = sequence[:length].copy()
        labels[:start] = int(IGNORE)
        examples.append(Example(problem.problem_id, cut(tokens, length), labels, problem.images))
    return examples, refusals
