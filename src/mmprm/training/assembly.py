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
        """Take the table's stamp."""
        return cls(path, start, stop, stamp(path))

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.stop - self.start


def stamp(path: Path) -> str:
    """Return what a file is known by without reading it."""
    status = path.stat()
    return f"{path.name} {status.st_size} {status.st_mtime_ns}"


Fill = Callable[[RowRange, ShardWriter], None]


@dataclass(frozen=True)
class Recipe:
    """How a store is made.

    parts: one a shard, in the order of the examples; fill: appends the examples of a part to a writer (picklable);
    identity: all that decides the result beside the parts, such as the tokenizer. title: for messages.
    """

    title: str
    parts: Sequence[RowRange]
    fill: Fill
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


def assemble(folder: Path, recipe: Recipe) -> ExampleSet:
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
        there = [number for number, file in enumerate(files) if file in kept]
        missing = [number for number, file in enumerate(files) if file not in kept]
        if kept:
            log.info(f"{recipe.title}: {len(kept)} of {len(files)} shards of examples are there")
        done, total = (sum(recipe.parts[n].rows for n in numbers) for numbers in (there, range(len(files))))
        with Progress(f"{recipe.title}, examples", total, "rows") as bar:
            jobs = [(files[number], recipe.key(number), recipe.parts[number]) for number in missing]
            for made in _made(recipe, jobs):
                done += made.rows
                bar.update(done)
        write_index(folder, files)
        shards = [description(file) for file in files]
    found = [shard for shard in shards if shard is not None]
    refusals = [ExampleRefusal(**refusal) for shard in found for refusal in shard.refusals]
    label_sum = math.fsum(shard.label_sum for shard in found)
    return ExampleSet(StoredExamples(folder), refusals, sum(shard.rows for shard in found), label_sum)


def _kept(recipe: Recipe, files: Sequence[Path]) -> set[Path]:
    """Return the files of complete shards of this recipe whose bytes are those that were written."""
    described = (
        (part, file, description(file), recipe.key(n))
        for n, (part, file) in enumerate(zip(recipe.parts, files, strict=True))
    )
    claimed = [(part, file, shard) for part, file, shard, key in described if shard is not None and shard.key == key]
    kept = set()
    done, total = 0, sum(part.rows for part, _, _ in claimed)
    with ThreadPoolExecutor(cores()) as pool, Progress(f"{recipe.title}, checking", total, "rows") as bar:
        damages = pool.map(_damage, [file for _, file, _ in claimed], [shard for _, _, shard in claimed])
        for (part, file, _), damage in zip(claimed, damages, strict=True):
            if damage:
                log.warning(f"{recipe.title}: {file} is damaged ({damage}): it is made again")
            else:
                kept.add(file)
            done += part.rows
            bar.update(done)
    return kept


def _damage(file: Path, shard: Shard) -> str:
    """Say how a file differs from its description; empty if it does not."""
    size = file.stat().st_size if file.is_file() else None
    if size != shard.size:
        return f"{size} bytes, not {shard.size}"
    return "" if checksum(file) == shard.crc32 else "its checksum is another"


_of_worker: list[Fill] = []


def _begin(fill: bytes) -> None:
    """Prepare a worker."""
    end_with_parent()
    hf_env.prepare()  # before transformers is imported
    pa.set_cpu_count(1)
    _of_worker.append(pickle.loads(fill))  # from `_made`


def _write(fill: Fill, file: Path, key: str, part: RowRange) -> None:
    with writing_shard(file, key) as writer:
        fill(part, writer)


def _write_in_worker(file: Path, key: str, part: RowRange) -> None:
    _write(_of_worker[0], file, key, part)


def _made(recipe: Recipe, jobs: Sequence[tuple[Path, str, RowRange]]) -> Iterator[RowRange]:
    """Make shards, on several cores where there are several; yield the rows of each that is complete."""
    workers = min(cores(), len(jobs))
    if workers <= 1:
        for job in jobs:
            _write(recipe.fill, *job)
            yield job[2]
        return
    # Spawned: a forked process would inherit the locks of the threads of torch and pyarrow.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _begin, (pickle.dumps(recipe.fill),)) as pool:
        try:
            running = {pool.submit(_write_in_worker, *job): job[2] for job in jobs}
            for future in as_completed(running):
                future.result()
                yield running[future]
        except BrokenProcessPool as error:
            raise UserError(
                f"{recipe.title}: a process that makes examples died, perhaps for lack of memory; run it again with "
                "fewer threads or more memory (finished shards are kept)"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)
