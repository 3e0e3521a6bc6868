"""Shards of training examples: Arrow files. In: Examples, one after another. Out: files, and their index.

A shard is an Arrow file and, written last, a JSON file with its checksum; index.arrow has what a plan needs to know of
the examples of all shards. Arrays are stored as runs of equal values: thousands of image tokens are one run. An image
stands once in a shard.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmprm.data import tables
from mmprm.training.examples import IGNORE, Example, ExampleRefusal, example_digest, images_digest

INDEX = "index.arrow"
_BATCH_ROWS, _BATCH_BYTES = 64, 2**25  # of a record batch, whichever is reached first
_COLUMNS = {  # of the index, and the first of a shard; times: how often an epoch has the example
    "problem_id": pa.string(),
    "times": pa.int32(),
    "length": pa.int32(),
    "n_labels": pa.int32(),
    "digest": pa.binary(16),
}


def _schema(example: Example) -> pa.Schema:
    """Return a shard's columns: the index's, arrays as runs, and images (null: they are those of row `images_at`)."""
    labels = pa.int32() if np.issubdtype(example.labels.dtype, np.integer) else pa.float32()
    arrays = {f"tokens.{name}": pa.int32() for name in example.tokens} | {"labels": labels, "trials": pa.float32()}
    runs = {name: pa.struct({"values": pa.list_(kind), "runs": pa.list_(pa.int32())}) for name, kind in arrays.items()}
    return pa.schema(_COLUMNS | runs | {"images": pa.list_(pa.binary()), "images_at": pa.int32()})


def encode(values: np.ndarray) -> dict[str, np.ndarray]:
    """Return an array (n,) as runs of equal values. ValueError where an integer has more than 32 bits."""
    starts = np.flatnonzero(np.concatenate([np.ones(min(1, len(values)), bool), values[1:] != values[:-1]]))
    kept = values[starts]
    if np.issubdtype(values.dtype, np.integer):
        if len(kept) and not -(2**31) <= kept.min() <= kept.max() < 2**31:
            raise ValueError(f"values from {kept.min()} to {kept.max()} have more than 32 bits: they are no token ids")
        kept = kept.astype(np.int32)
    return {"values": kept, "runs": np.diff(starts, append=len(values)).astype(np.int32)}


def decode(runs: Any) -> np.ndarray:
    """Return the array that `encode` was given, from its Arrow scalar; integers are of 64 bits."""
    values = np.repeat(runs["values"].values.to_numpy(), runs["runs"].values.to_numpy())
    return values.astype(np.int64) if np.issubdtype(values.dtype, np.integer) else values


@dataclass(frozen=True)
class Shard:
    """A shard's JSON file.

    key: what the shard was made from; size, crc32: of its Arrow file; batches: the examples of each record batch;
    rows: that were read, examples or not; label_sum: over all labels.
    """

    key: str
    size: int
    crc32: int
    batches: list[int]
    rows: int
    label_sum: float
    refusals: list[dict[str, Any]]


def description(file: Path) -> Shard | None:
    """Read the description of a shard's Arrow file; None if there is none."""
    try:
        return Shard(**json.loads(file.with_suffix(".json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def checksum(file: Path) -> int:
    """Return the CRC-32 of a file."""
    value = 0
    with file.open("rb") as opened:
        while part := opened.read(2**22):
            value = zlib.crc32(part, value)
    return value


class ShardWriter:
    """Appends examples to a shard; see `writing_shard`. `rows` counts what was read, for the caller to raise."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._writer: Any = None
        self._waiting: list[dict[str, Any]] = []
        self._bytes = self._n = 0
        self._images: dict[bytes, int] = {}
        self._last: tuple[tuple[bytes, ...], bytes] | None = None
        self.batches: list[int] = []
        self.refusals: list[ExampleRefusal] = []
        self.label_sum = 0.0
        self.rows = 0

    def add(self, example: Example, times: int = 1) -> None:
        """Append an example that an epoch has so many times."""
        if self._last is None or self._last[0] is not example.images:
            self._last = example.images, images_digest(example.images)
        digest = self._last[1]
        known = example.labels[example.labels != IGNORE]
        seen = digest in self._images
        row = {
            "problem_id": example.problem_id,
            "times": times,
            "length": example.length,
            "n_labels": len(known),
            "digest": example_digest(example, digest),
            "labels": encode(example.labels),
            "trials": None if example.trials is None else encode(example.trials),
            "images": None if seen else list(example.images),
            "images_at": self._images.setdefault(digest, self._n),
        }
        self._waiting.append(row | {f"tokens.{name}": encode(values) for name, values in example.tokens.items()})
        self._n += 1
        self._bytes += 0 if seen else sum(map(len, example.images))
        self.label_sum += float(known.sum(dtype=np.float64))
        if self._writer is None:
            self._schema = _schema(example)
            self._writer = pa.ipc.new_file(str(self._file), self._schema)
        if len(self._waiting) >= _BATCH_ROWS or self._bytes >= _BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_batch(pa.RecordBatch.from_pylist(self._waiting, self._schema))
            self.batches.append(len(self._waiting))
            self._waiting, self._bytes = [], 0

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        if self._writer is None:  # no row is an example
            self._writer = pa.ipc.new_file(str(self._file), pa.schema(_COLUMNS))
        self._writer.close()


@contextmanager
def writing_shard(file: Path, key: str) -> Iterator[ShardWriter]:
    """Give a writer of the shard, which is complete once the block has ended, or absent."""
    file.with_suffix(".json").unlink(missing_ok=True)
    with tables.replacing(file) as temporary:
        writer = ShardWriter(temporary)
        yield writer
        writer.close()
        size, crc32 = temporary.stat().st_size, checksum(temporary)
    refusals = [asdict(refusal) for refusal in writer.refusals]
    shard = Shard(key, size, crc32, writer.batches, writer.rows, writer.label_sum, refusals)
    tables.write_json(file.with_suffix(".json"), asdict(shard))


def write_index(folder: Path, files: Sequence[Path]) -> None:
    """Write the index of the examples of these shards, one after another."""
    with tables.replacing(folder / INDEX) as temporary:
        schema = pa.schema(_COLUMNS, {"shards": json.dumps([file.name for file in files])})
        with pa.ipc.new_file(str(temporary), schema) as writer:
            for file in files:
                with pa.memory_map(str(file)) as mapped, pa.ipc.open_file(mapped) as reader:
                    for number in range(reader.num_record_batches):
                        writer.write_batch(reader.get_batch(number).select(list(_COLUMNS)))
