"""Training examples on disk, mapped into memory. In: a folder of shards. Out: a sequence of Examples.

A process that reads an example reads the pages of that example alone; the index, which a plan is made from, is shared
by all processes of a machine.
"""

from __future__ import annotations

import json
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa

from mmprm.training.example_shards import INDEX, decode, description
from mmprm.training.examples import IGNORE, Example, example_digest

_OPEN_SHARDS = 64  # that a process keeps mapped


@dataclass(frozen=True)
class ExampleIndex:
    """For each example its problem, its number of tokens, and of labels."""

    problem_ids: Sequence[str]
    lengths: Sequence[int]
    n_labels: Sequence[int]

    @classmethod
    def of(cls, examples: Sequence[Example] | ExampleIndex) -> ExampleIndex:
        """Index examples; those on disk are not read again, and an index is itself."""
        if isinstance(examples, ExampleIndex):
            return examples
        if isinstance(examples, StoredExamples):
            return examples.example_index
        ids, lengths = [row.problem_id for row in examples], [row.length for row in examples]
        return cls(ids, lengths, [int((row.labels != IGNORE).sum()) for row in examples])


class _Ids(Sequence[str]):
    """Problem ids in an Arrow column, by the examples' rows."""

    def __init__(self, column: pa.ChunkedArray, rows: np.ndarray) -> None:
        self._column, self._rows = column, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        rows = self._rows[index]
        return self._column[int(rows)].as_py() if rows.ndim == 0 else self._column.take(rows).to_pylist()

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), 8192):
            yield from self[start : start + 8192]


def digests(examples: Sequence[Example]) -> Iterator[bytes]:
    """Yield the digest of each example; those on disk are not read again."""
    return examples.digests() if isinstance(examples, StoredExamples) else map(example_digest, examples)


class StoredExamples(Sequence[Example]):
    """The examples of a store; can be pickled (as the folder's name), and read by many processes at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shards: OrderedDict[int, Any] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["folder"])  # type: ignore[misc]

    @cached_property
    def _index(self) -> pa.Table:
        with pa.memory_map(str(self.folder / INDEX)) as mapped, pa.ipc.open_file(mapped) as reader:
            return reader.read_all()

    @cached_property
    def _rows(self) -> np.ndarray:
        """The row of the index of each example: one that is there twice stands in it once."""
        times = self._index["times"].to_numpy()
        return np.repeat(np.arange(len(times), dtype=np.int32), times)

    @cached_property
    def _batches(self) -> tuple[list[Path], np.ndarray]:
        """The shards, and for each record batch: its first row of the index, its shard, and its number there."""
        files = [self.folder / name for name in json.loads(self._index.schema.metadata[b"shards"])]
        shards = [description(file) for file in files]
        sizes = [
            (n, shard, batch) for shard, found in enumerate(shards) if found for batch, n in enumerate(found.batches)
        ]
        table = np.array(sizes, dtype=np.int64).reshape(-1, 3)
        table[:, 0] = np.cumsum(table[:, 0]) - table[:, 0]
        return files, table

    @cached_property
    def example_index(self) -> ExampleIndex:
        """What a plan needs to know of the examples."""
        ids = _Ids(self._index["problem_id"], self._rows)
        lengths, n_labels = (self._index[name].to_numpy()[self._rows] for name in ("length", "n_labels"))
        return ExampleIndex(ids, array("i", lengths.tobytes()), array("i", n_labels.tobytes()))

    def digests(self) -> Iterator[bytes]:
        """Yield the digest of each example."""
        for start in range(0, len(self), 8192):
            yield from self._index["digest"].take(self._rows[start : start + 8192]).to_pylist()

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        _, batches = self._batches
        row = int(self._rows[index])
        place = int(np.searchsorted(batches[:, 0], row, "right")) - 1
        first, shard, number = batches[place].tolist()
        found = self._batch(shard, number)
        columns = {name: found.column(name)[row - first] for name in found.schema.names}
        images = columns["images"]
        if not images.is_valid:
            images = self._images(shard, columns["images_at"].as_py())
        return Example(
            columns["problem_id"].as_py(),
            {
                name.removeprefix("tokens."): decode(runs)
                for name, runs in columns.items()
                if name.startswith("tokens.")
            },
            decode(columns["labels"]),
            tuple(images.as_py()),
            decode(columns["trials"]) if columns["trials"].is_valid else None,
        )

    def _images(self, shard: int, row: int) -> Any:
        """Return the images of a row of a shard."""
        _, batches = self._batches
        own = batches[batches[:, 1] == shard]
        place = int(np.searchsorted(own[:, 0] - own[0, 0], row, "right")) - 1
        first = int(own[place, 0] - own[0, 0])
        return self._batch(shard, int(own[place, 2])).column("images")[row - first]

    def _batch(self, shard: int, number: int) -> pa.RecordBatch:
        if shard not in self._shards:
            files, _ = self._batches
            self._shards[shard] = pa.ipc.open_file(pa.memory_map(str(files[shard])))
            if len(self._shards) > _OPEN_SHARDS:
                self._shards.popitem(last=False)
        self._shards.move_to_end(shard)
        return self._shards[shard].get_batch(number)
