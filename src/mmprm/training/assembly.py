"""Training examples of tables of any size: shards made by all cores. In: parts of tables. Out: a store of examples.

A kill loses the shards that were being made: the next run keeps the others, after comparing their checksums.
"""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import pyarrow as pa

from mmprm.model import hf_env
from mmprm.runtime import locks
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log
from mmprm.runtime.parent_death import end_with_parent
from mmprm.runtime.progress import Progress
from mmprm.training.example_shards import Shard, ShardWriter, checksum, description, write_index, writing_shard
from mmprm.training.example_store import StoredExamples
from mmprm.training.examples import ExampleRefusal

Part = TypeVar("Part")

_FORMAT = "1"  # raise it when shards of the same parts become other ones


@dataclass(frozen=True)
class RowRange:
    """The rows start..stop of a table, and what the table is known by: its name, size and time of change."""

    path: Path = field(repr=False)
    start: int
    stop: int
    table: str

    @classmethod
    def of(cls, path: Path, start: int, stop: int) -> RowRange:
        return cls(path, start, stop, stamp(path))


def stamp(path: Path) -> str:
    """Return what a file is known by without reading it."""
    status = path.stat()
    return f"{path.name} {status.st_size} {status.st_mtime_ns}"


@dataclass(frozen=True)
class Recipe(Generic[Part]):
    """How a store is made.

    parts: one a shard, in the order of the examples; fill: appends the examples of a part to a writer (picklable);
    identity: all that decides the result beside the parts, such as the tokenizer. title: for messages.
    """

    title: str
    parts: Sequence[Part]
    fill: Callable[[Part, ShardWriter], None]
    identity: str

    def key(self, number: int) -> str:
        """Return what a shard is known by as made from the same."""
        text = f"{_FORMAT}\x1f{self.parts[number]!r}\x1f{self.identity}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class ExampleSet:
    """Examples on disk, the rows that were refused or cut, the number of rows, and the sum of all labels."""

    examples: StoredExamples
    refusals: list[ExampleRefusal]
    n_rows: int
    label_sum: float


def cores() -> int:
    """Return how many processes may compute: the rule's threads (Snakemake sets OMP_NUM_THREADS), or all cores."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return min(usable, int(threads)) if threads.isdigit() and threads != "0" else usable


def assemble(folder: Path, recipe: Recipe[Any]) -> ExampleSet:
    """Make the shards that `folder` does not have yet, and return the store. Processes take turns.

    A damaged shard is named and made again. UserError where a process dies; what `fill` raises is passed on.
    """
    if folder.is_file():  # the single file of release 0.1
        folder.unlink()
    with locks.single_writer(folder.parent, folder.name):
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / f"{number:05d}.arrow" for number in range(len(recipe.parts))]
        kept = _kept(recipe, files)
        for other in folder.iterdir():  # of another recipe, damaged, or half written
            if other.with_suffix(".arrow") not in kept:
                other.unlink()
        missing = [number for number, file in enumerate(files) if file not in kept]
        if kept:
            log.info(f"{recipe.title}: {len(kept)} of {len(files)} shards of examples are there")
        with Progress(f"{recipe.title}: examples", len(files), "shards") as bar:
            jobs = [(files[number], recipe.key(number), recipe.parts[number]) for number in missing]
            for done, _ in enumerate(_made(recipe, jobs), len(kept) + 1):
                bar.update(done)
        write_index(folder, files)
        shards = [description(file) for file in files]
    found = [shard for shard in shards if shard is not None]
    refusals = [ExampleRefusal(**refusal) for shard in found for refusal in shard.refusals]
    label_sum = math.fsum(shard.label_sum for shard in found)
    return ExampleSet(StoredExamples(folder), refusals, sum(shard.rows for shard in found), label_sum)


def _kept(recipe: Recipe[Any], files: Sequence[Path]) -> set[Path]:
    """Return the files of complete shards of this recipe whose bytes are those that were written."""
    described = ((file, description(file), recipe.key(number)) for number, file in enumerate(files))
    claimed = [(file, shard) for file, shard, key in described if shard is not None and shard.key == key]
    kept = set()
    with ThreadPoolExecutor(cores()) as pool, Progress(f"{recipe.title}: checking", len(claimed), "shards") as bar:
        for done, ((file, _), damage) in enumerate(zip(claimed, pool.map(_damage, claimed), strict=True), 1):
            if damage:
                log.warning(f"{recipe.title}: {file} is damaged ({damage}): it is made again")
            else:
                kept.add(file)
            bar.update(done)
    return kept


def _damage(claimed: tuple[Path, Shard]) -> str:
    """Say how a file differs from its description; empty if it does not."""
    file, shard = claimed
    size = file.stat().st_size if file.is_file() else None
    if size != shard.size:
        return f"{size} bytes, not {shard.size}"
    return "" if checksum(file) == shard.crc32 else "its checksum is another"


_of_worker: list[Callable[[Any, ShardWriter], None]] = []


def _begin(fill: bytes) -> None:
    """Prepare a worker."""
    end_with_parent()
    hf_env.prepare()  # before transformers is imported
    pa.set_cpu_count(1)
    _of_worker.append(pickle.loads(fill))  # from `_made`


def _write(fill: Callable[[Any, ShardWriter], None], file: Path, key: str, part: Any) -> None:
    with writing_shard(file, key) as writer:
        fill(part, writer)


def _write_in_worker(file: Path, key: str, part: Any) -> None:
    _write(_of_worker[0], file, key, part)


def _made(recipe: Recipe[Any], jobs: Sequence[tuple[Path, str, Any]]) -> Iterator[None]:
    """Make shards, on several cores where there are several; yield after each."""
    workers = min(cores(), len(jobs))
    if workers <= 1:
        for job in jobs:
            _write(recipe.fill, *job)
            yield
        return
    # Spawned: a forked process would inherit the locks of the threads of torch and pyarrow.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _begin, (pickle.dumps(recipe.fill),)) as pool:
        try:
            for future in as_completed([pool.submit(_write_in_worker, *job) for job in jobs]):
                future.result()
                yield
        except BrokenProcessPool as error:
            raise UserError(
                f"{recipe.title}: a process that makes examples died, perhaps for lack of memory; run it again with "
                "fewer threads or more memory (finished shards are kept)"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)
