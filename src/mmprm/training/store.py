"""Training examples on disk. In: Examples, one after another. Out: a sequence of them that is read as it is asked for.

Of 700,000 paths of a run the tokens are some 15 GB, mostly image placeholders, and 1 GB when they are packed. In memory
stays what the order of a training is made from: length, labels and problem of each example, about 50 bytes.
"""

from __future__ import annotations

import os
import pickle
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, overload

import numpy as np
import pyarrow as pa

from mmprm.training.data import IGNORE, Example

_CODEC = "lz4"


class Examples(Sequence[Example]):
    """The examples of a file that an ExampleWriter made; it can be pickled, and read by many processes at once."""

    def __init__(self, file: Path, places: np.ndarray, images: np.ndarray, outline: ExampleIndex) -> None:
        self._file, self._places, self._images, self.outline = file, places, images, outline
        self._descriptor: int | None = None
        self._last_images: tuple[int, tuple[bytes, ...]] = (-1, ())

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        tokens, labels, trials = self._read(*self._places[index])
        whole = {name: values.astype(np.int64) for name, values in tokens.items()}
        return Example(self.outline.problem_ids[index], whole, labels, self._images_of(index), trials)

    def _images_of(self, index: int) -> tuple[bytes, ...]:
        offset, *sizes = self._images[index].tolist()
        if self._last_images[0] != offset:
            self._last_images = (offset, self._read(offset, *sizes))
        return self._last_images[1]

    def _read(self, offset: int, size: int, unpacked: int) -> Any:
        if self._descriptor is None:
            self._descriptor = os.open(self._file, os.O_RDONLY)
        packed = os.pread(self._descriptor, int(size), int(offset))  # no place in the file that a fork would share
        return pickle.loads(pa.decompress(packed, int(unpacked), _CODEC, asbytes=True))  # by this job's own writer

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_descriptor": None, "_last_images": (-1, ())}

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


@dataclass(frozen=True)
class ExampleIndex:
    """Of each example its problem, its number of tokens, and of labelled ones."""

    problem_ids: Sequence[str]
    lengths: Sequence[int]
    n_labels: Sequence[int]

    @classmethod
    def of(cls, examples: Sequence[Example]) -> ExampleIndex:
        """Without reading them again where they are a file's."""
        if isinstance(examples, Examples):
            return examples.outline
        return cls(
            [example.problem_id for example in examples],
            [example.length for example in examples],
            [int((example.labels != IGNORE).sum()) for example in examples],
        )


class ExampleWriter:
    """Writes a file of examples; images that follow one another are kept once. A context manager."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._end = file, 0
        self._places, self._images = array("q"), array("q")
        self._ids: list[str] = []
        self._lengths, self._n_labels = array("i"), array("i")
        self._last: tuple[tuple[bytes, ...], list[int]] | None = None
        self.label_sum = 0.0  # of all labels

    def __enter__(self) -> ExampleWriter:
        self._file = self._path.open("wb")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def add(self, example: Example) -> None:
        """The next example."""
        if self._last is None or self._last[0] != example.images:
            self._last = (example.images, self._write(example.images))
        tokens = {name: _narrow(values) for name, values in example.tokens.items()}
        self._places.extend(self._write((tokens, example.labels, example.trials)))
        self._images.extend(self._last[1])
        same = bool(self._ids) and self._ids[-1] == example.problem_id
        self._ids.append(self._ids[-1] if same else example.problem_id)  # one string a problem, not one an example
        known = example.labels[example.labels != IGNORE]
        self._lengths.append(example.length)
        self._n_labels.append(len(known))
        self.label_sum += float(known.sum(dtype=np.float64))

    def _write(self, value: Any) -> list[int]:
        plain = pickle.dumps(value, protocol=5)
        packed = pa.compress(plain, _CODEC, asbytes=True)
        self._file.write(packed)
        self._end += len(packed)
        return [self._end - len(packed), len(packed), len(plain)]

    def examples(self) -> Examples:
        """All that was added."""
        self._file.flush()
        places, images = (np.array(rows, dtype=np.int64).reshape(-1, 3) for rows in (self._places, self._images))
        return Examples(self._path, places, images, ExampleIndex(self._ids, self._lengths, self._n_labels))


def _narrow(values: np.ndarray) -> np.ndarray:
    """In 32 bits where they fit, as token ids do."""
    fits = not len(values) or (values.min() >= -(2**31) and values.max() < 2**31)
    return values.astype(np.int32) if fits else values
