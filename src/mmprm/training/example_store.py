"""Training examples on disk. In: Examples, one after another. Out: a sequence of them, each read on access.

The tokens of 700,000 trajectories are some 15 GB, 1 GB compressed; in memory stay 50 bytes of each (ExampleIndex).
"""

from __future__ import annotations

import os
import pickle
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
import pyarrow as pa

from mmprm.training.examples import IGNORE, Example

_CODEC = "lz4"


class StoredExamples(Sequence[Example]):
    """The examples of an ExampleWriter's file; can be pickled, and read by many processes at once.

    records, images: (examples, 3), where each example and its images are: offset, compressed and uncompressed bytes.
    """

    def __init__(self, file: Path, records: np.ndarray, images: np.ndarray, index: ExampleIndex) -> None:
        self._file, self._records, self._images, self.example_index = file, records, images, index
        self._descriptor: int | None = None
        self._last_images: tuple[int, tuple[bytes, ...]] = (-1, ())

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        narrow, labels, trials = self._read(*self._records[index])
        tokens = {name: values.astype(np.int64) for name, values in narrow.items()}
        offset, *sizes = self._images[index].tolist()
        if self._last_images[0] != offset:
            self._last_images = (offset, self._read(offset, *sizes))
        return Example(self.example_index.problem_ids[index], tokens, labels, self._last_images[1], trials)

    def _read(self, offset: int, size: int, uncompressed: int) -> Any:
        if self._descriptor is None:
            self._descriptor = os.open(self._file, os.O_RDONLY)
        compressed = os.pread(self._descriptor, int(size), int(offset))  # unlike seek, safe after a fork
        # Written by this run's own ExampleWriter.
        return pickle.loads(pa.decompress(compressed, int(uncompressed), _CODEC, asbytes=True))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_descriptor": None, "_last_images": (-1, ())}

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


@dataclass(frozen=True)
class ExampleIndex:
    """For each example its problem, its number of tokens, and of labels."""

    problem_ids: Sequence[str]
    lengths: Sequence[int]
    n_labels: Sequence[int]

    @classmethod
    def of(cls, examples: Sequence[Example]) -> ExampleIndex:
        """Index examples; those on disk are not read again."""
        if isinstance(examples, StoredExamples):
            return examples.example_index
        ids, lengths = [row.problem_id for row in examples], [row.length for row in examples]
        return cls(ids, lengths, [int((row.labels != IGNORE).sum()) for row in examples])


class ExampleWriter:
    """Writes a file of examples; consecutive examples share their images. A context manager."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._end = file, 0
        self._records, self._images = array("q"), array("q")
        self._ids: list[str] = []
        self._lengths, self._n_labels = array("i"), array("i")
        self._last: tuple[tuple[bytes, ...], list[int]] | None = None
        self.label_sum = 0.0  # of all labels

    def __enter__(self) -> ExampleWriter:
        self._file: BinaryIO = self._path.open("wb")
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def add(self, example: Example) -> None:
        """Append an example."""
        if self._last is None or self._last[0] != example.images:
            self._last = (example.images, self._write(example.images))
        tokens = {name: _narrow(values) for name, values in example.tokens.items()}
        self._records.extend(self._write((tokens, example.labels, example.trials)))
        self._images.extend(self._last[1])
        same = bool(self._ids) and self._ids[-1] == example.problem_id
        self._ids.append(self._ids[-1] if same else example.problem_id)  # one string object per problem
        known = example.labels[example.labels != IGNORE]
        self._lengths.append(example.length)
        self._n_labels.append(len(known))
        self.label_sum += float(known.sum(dtype=np.float64))

    def _write(self, value: Any) -> list[int]:
        """Write a value; return its offset, and its compressed and uncompressed bytes."""
        plain = pickle.dumps(value, protocol=5)
        compressed = pa.compress(plain, _CODEC, asbytes=True)
        self._file.write(compressed)
        self._end += len(compressed)
        return [self._end - len(compressed), len(compressed), len(plain)]

    def examples(self) -> StoredExamples:
        """Return all examples that were added."""
        self._file.flush()
        records, images = (np.array(rows, dtype=np.int64).reshape(-1, 3) for rows in (self._records, self._images))
        return StoredExamples(self._path, records, images, ExampleIndex(self._ids, self._lengths, self._n_labels))


def _narrow(values: np.ndarray) -> np.ndarray:
    """Store values in 32 bits if they fit, as token ids do."""
    fits = not len(values) or (values.min() >= -(2**31) and values.max() < 2**31)
    return values.astype(np.int32) if fits else values
