"""The schema of every table of a run, and atomic writes: a file is whole or absent, never half written."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmprm.runtime.errors import UserError

_STRINGS = pa.list_(pa.string())
_IMAGE_BYTES = 2**27  # of a row group


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


PROBLEMS = _schema(
    problem_id=pa.string(),
    source=pa.string(),
    question=pa.string(),
    answer=pa.string(),
    images=pa.list_(pa.binary()),  # encoded files
    choices=_STRINGS,
    answer_type=pa.string(),
    solution=pa.string(),
    family=pa.string(),
    precision=pa.int32(),  # null: not stated
    unit=pa.string(),
    tolerance=pa.list_(pa.float64()),
    group=pa.string(),
)
# Rows of a source that were not taken, and why. `reason` is a short code, `detail` a sentence for a person.
REFUSED = _schema(source=pa.string(), row=pa.int64(), problem_id=pa.string(), reason=pa.string(), detail=pa.string())
# A checked row of a source, in a part file of intake (problems/parts.py). A row is taken where `reason` is null.
INTAKE_PART = _schema(
    row=pa.int64(),
    problem_id=pa.string(),
    reason=pa.string(),
    detail=pa.string(),
    own_group=pa.string(),  # as the source has it
    pictures=pa.list_(pa.binary(16)),  # a hash of each encoded image
    image_bytes=pa.int64(),
    offset=pa.int64(),  # where the problem stands among those of the part, in bytes
    length=pa.int64(),
)

# One sampled solution. `status` is solution.Status; `verdict` is grading.Verdict; `method` is what gave the verdict.
_COMPLETION = {
    "text": pa.string(),
    "steps": _STRINGS,
    "answer": pa.string(),
    "status": pa.string(),
    "verdict": pa.string(),
    "method": pa.string(),
    "n_tokens": pa.int32(),
    "finish_reason": pa.string(),
}
SEED_ROLLOUTS = _schema(
    problem_id=pa.string(),
    blank=pa.bool_(),  # was the problem shown with a uniform picture in place of its own?
    attempt=pa.int32(),
    **_COMPLETION,
)
_COUNTS = {
    "n_rollouts": pa.int32(),  # graded ones: correct + incorrect + unparsed; undecided are not counted here
    "n_correct": pa.int32(),
    "n_unparsed": pa.int32(),
    "n_undecided": pa.int32(),
}
SEED_DECISIONS = _schema(
    problem_id=pa.string(),
    source=pa.string(),
    **_COUNTS,
    kept=pa.bool_(),
    # kept; none_right, all_right, too_hard, too_easy; undecided; failed; image_not_needed; over_limit
    reason=pa.string(),
    # why no more was drawn: all_drawn, certain (no rollout still to come could change it), bound (with confidence)
    stopped=pa.string(),
    n_tokens=pa.int64(),  # of its rollouts, those with a blank picture left out
    blank_n_rollouts=pa.int32(),  # graded ones with a blank picture; null where it was not tried
    blank_n_correct=pa.int32(),
    image_needed=pa.bool_(),  # false: shown to be solved as well with a blank picture; true: not so; null: not tried
)

NODES = _schema(
    problem_id=pa.string(),
    node_id=pa.int32(),  # 0 is the root; ids are given in the order of creation
    parent_id=pa.int32(),  # null at the root; always a node whose MC value is above 0
    steps=_STRINGS,  # the whole prefix, empty at the root
    **_COUNTS,
    mc=pa.float64(),  # n_correct / n_rollouts; null where nothing could be graded
    visits=pa.int32(),  # N(s)
)
ROLLOUTS = _schema(
    problem_id=pa.string(),
    node_id=pa.int32(),
    rollout=pa.int32(),  # position among the node's rollouts
    searched=pa.bool_(),  # was it chosen for a binary search?
    **_COMPLETION,  # `steps` are the steps after the node's prefix
)
STATUS = _schema(
    problem_id=pa.string(),
    status=pa.string(),  # done, failed, skipped
    reason=pa.string(),
    n_searches=pa.int32(),
    n_rollouts=pa.int32(),
    n_tokens=pa.int64(),
    n_nodes=pa.int32(),
)

# A marker stands after each step and, where the path is a whole solution, after the answer: the lists n_correct,
# n_rollouts, hard, label_source and soft have len(steps) + (answer is not null) entries.
PATHS = _schema(
    path_id=pa.string(),
    problem_id=pa.string(),
    source=pa.string(),
    split=pa.string(),  # train or dev, by problem; test in a step benchmark
    # positive (ends in a right answer), negative (ends at the first error), outcome (a wrong answer), or given (a whole
    # solution whose labels came with its data set)
    kind=pa.string(),
    steps=_STRINGS,
    answer=pa.string(),
    n_correct=pa.list_(pa.int32()),  # null where the prefix has no rollouts
    n_rollouts=pa.list_(pa.int32()),
    hard=pa.list_(pa.int8()),  # 1 right, 0 wrong, null unknown
    # probed, pooled (only rollouts of shorter prefixes went through it), implied, answer, given (step data), none
    label_source=_STRINGS,
    soft=pa.list_(pa.float64()),  # n_correct / n_rollouts, or what labels.* made of it; null unknown
)

# A finished request; an item of each list for each completion. What stands there beside the key is journal.Entry.
JOURNAL = _schema(
    problem_id=pa.string(),
    key=pa.string(),
    grading=pa.string(),
    text=_STRINGS,
    n_tokens=pa.list_(pa.int32()),
    finish_reason=_STRINGS,
    verdict=_STRINGS,
    method=_STRINGS,
)

# What stands for a completion where there is none.
NO_COMPLETION: dict[str, Any] = {
    "text": "",
    "steps": [],
    "answer": None,
    "status": "empty",
    "verdict": "unparsed",
    "method": "engine",
    "n_tokens": 0,
    "finish_reason": "error",
}

CANDIDATES = _schema(problem_id=pa.string(), candidate=pa.int32(), **_COMPLETION)
SCORES = _schema(
    problem_id=pa.string(),
    candidate=pa.int32(),
    probabilities=pa.list_(pa.float64()),  # P(yes) at each marker: the steps, then the answer
)
# How many rollouts each of the probabilities is worth, where the PRM was trained on counts (step_scores).
_CONCENTRATIONS = pa.field("concentrations", pa.list_(pa.float64()))
COUNTED_SCORES = SCORES.append(_CONCENTRATIONS)
# What a guided strategy chose for a problem, and what it cost.
GUIDED = _schema(
    problem_id=pa.string(),
    **_COMPLETION,  # of the chosen solution; its n_tokens are those of its last request
    probabilities=pa.list_(pa.float64()),
    n_solutions=pa.int32(),  # whole ones that were found
    n_correct=pa.int32(),  # of these
    sampled_tokens=pa.int64(),  # all that was sampled for the problem
    n_requests=pa.int32(),
)
COUNTED_GUIDED = GUIDED.append(_CONCENTRATIONS)
# A path that the judging model of labels.consensus does not agree on. Places of steps count from 1, the answer's behind
# the last step; -1: no error.
DISAGREED = _schema(
    path_id=pa.string(),
    problem_id=pa.string(),
    source=pa.string(),
    kind=pa.string(),
    steps=_STRINGS,
    answer=pa.string(),
    labelled=pa.int32(),  # where the labels have the first error; null: somewhere (an outcome path)
    judged=pa.int32(),  # where the model has it; null: its reply cannot be read
    reason=pa.string(),  # disagreed; no_reply, reply_truncated, reply_malformed: of the last try
    said=pa.string(),  # the end of the reply, or why there is none
)
STEP_SCORES = _schema(path_id=pa.string(), probabilities=pa.list_(pa.float64()))  # the same of a path of PATHS


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that is renamed onto it when the block ends well, and removed when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner can read
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write(path: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema, group: int | None = None) -> None:
    """Write rows (mappings with exactly the schema's columns) as parquet, atomically.

    Rows are taken in row groups of `group`, one in memory at a time. Groups are small where rows hold images, and end
    early at _IMAGE_BYTES of them: arrow cannot build or read one of more than 2 GB.
    """
    group = group or (256 if "images" in schema.names else 8192)
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for chunk in _row_groups(rows, group):
            writer.write_table(as_table(chunk, schema))


def _row_groups(rows: Iterable[Mapping[str, Any]], group: int) -> Iterator[list[Mapping[str, Any]]]:
    chunk: list[Mapping[str, Any]] = []
    n_bytes = 0
    for row in rows:
        chunk.append(row)
        n_bytes += sum(map(len, row.get("images") or ()))
        if len(chunk) == group or n_bytes >= _IMAGE_BYTES:
            yield chunk
            chunk, n_bytes = [], 0
    if chunk:
        yield chunk


@contextmanager
def appending(path: Path, schema: pa.Schema, group: int = 1024) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """`write` of rows that come one by one, for a table beside another one: gives what takes a row.

    The file is there when the block has ended well.
    """
    waiting: list[Mapping[str, Any]] = []
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:

        def add(row: Mapping[str, Any]) -> None:
            waiting.append(row)
            if len(waiting) == group:
                writer.write_table(as_table(waiting, schema))
                waiting.clear()

        yield add
        writer.write_table(as_table(waiting, schema))


def write_parts(path: Path, parts: Iterable[pa.Table], schema: pa.Schema, group: int = 8192) -> None:
    """`write` of rows that are arrow tables already: the same file, one row group in memory at a time."""
    waiting: list[pa.Table] = []
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for part in parts:
            waiting.append(part)
            while sum(map(len, waiting)) >= group:
                whole = pa.concat_tables(waiting).combine_chunks()
                writer.write_table(whole.slice(0, group))
                waiting = [whole.slice(group)]
        if sum(map(len, waiting)):
            writer.write_table(pa.concat_tables(waiting).combine_chunks())


def as_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as an arrow table; ValueError unless each has exactly the schema's columns."""
    names = set(schema.names)
    for row in rows:
        if row.keys() != names:  # arrow would drop the one and write null for the other
            raise ValueError(f"a row has columns {sorted(row)}, the table {sorted(names)}")
    return pa.Table.from_pylist(rows, schema=schema)


def read(path: Path, schema: pa.Schema, problem_ids: Collection[str] | None = None) -> pa.Table:
    """Read a table of the run, or only the rows of some of its problems.

    UserError names the file and the columns when it is not what the schema says.
    """
    # With their type: of no ids arrow cannot tell it, and would refuse to compare.
    wanted = None if problem_ids is None else pc.field("problem_id").isin(pa.array(problem_ids, pa.string()))
    with _explained(path):
        table = pq.read_table(path, filters=wanted)
    return _as_said(path, table, schema, schema.names)


def batches(
    path: Path, schema: pa.Schema, columns: Sequence[str] | None = None, rows: int = 4096
) -> Iterator[pa.Table]:
    """A table of the run in parts of at most so many rows, one in memory at a time: of all columns, or of some.

    Errors are those of `read`.
    """
    with _opened(path, schema, columns) as (file, names):
        for batch in file.iter_batches(rows, columns=names):
            yield _as_said(path, pa.Table.from_batches([batch]), schema, names)


def groups(
    path: Path, schema: pa.Schema, columns: Sequence[str] | None = None, only: int | None = None
) -> Iterator[pa.Table]:
    """The same by the row groups that it was written in; or the group of this number alone."""
    with _opened(path, schema, columns) as (file, names):
        for group in range(file.num_row_groups) if only is None else [only]:
            yield _as_said(path, file.read_row_group(group, columns=names), schema, names)


def count(path: Path) -> int:
    """How many rows a table has."""
    with _explained(path):
        return int(pq.read_metadata(path).num_rows)


@contextmanager
def _opened(
    path: Path, schema: pa.Schema, columns: Sequence[str] | None
) -> Iterator[tuple[pq.ParquetFile, Sequence[str]]]:
    """The file, and those of its columns that are asked for."""
    names = list(schema.names if columns is None else columns)
    with _explained(path), pq.ParquetFile(path) as file:
        if not set(names) <= set(file.schema_arrow.names):
            _as_said(path, file.schema_arrow.empty_table(), schema, names)
        yield file, names


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns what cannot be read into a UserError."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such table; run the target that makes it, e.g. `snakemake {path}`") from error
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable parquet file ({error}); delete it and run again") from error


def _as_said(path: Path, table: pa.Table, schema: pa.Schema, names: Sequence[str]) -> pa.Table:
    """The columns `names` of the table, in the schema's types; UserError where it lacks one."""
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise UserError(f"{path}: columns {missing} are missing; it was made by another version: delete it, run again")
    try:
        return table.select(names).cast(pa.schema([schema.field(name) for name in names]))
    except pa.ArrowException as error:
        raise UserError(f"{path}: a column has another type ({error}); delete it and run again") from error


def read_rows(paths: Sequence[Path] | Path, schema: pa.Schema) -> list[dict[str, Any]]:
    """All rows of one or more tables of one schema as dictionaries."""
    files = [paths] if isinstance(paths, Path) else paths
    return [row for path in files for row in read(path, schema).to_pylist()]


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; NaN is refused, since readers of JSON do not agree on it."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text)
