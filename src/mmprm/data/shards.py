"""Shards of a stage: their names and tables, and the problems of each. In: names, folders, problem tables. Out: shards.

A shard is named `index-of-count`, such as 0-of-4; `all-of-4` stands for the paths of all four on a command line.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, read_problems
from mmprm.runtime.errors import UserError

_FORM = "not of the form 0-of-4 (index, counted from 0, and number of shards)"


@dataclass(frozen=True)
class Shard:
    """Part `index` (from 0) of `count` of a stage's problems; UserError unless 0 <= index < count."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise UserError(f"{self}: {_FORM}")

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `0-of-4`; UserError where the text has another form."""
        match = re.fullmatch(r"([0-9]+)-of-([0-9]+)", text)
        if match is None:
            raise UserError(f"{text}: {_FORM}")
        return cls(int(match[1]), int(match[2]))

    def owns(self, problem_id: str) -> bool:
        """Tell whether the problem belongs to this shard, by a stable hash of its id."""
        digest = hashlib.sha256(problem_id.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index


def names(count: int) -> list[str]:
    """List the names of all shards: 0-of-4, 1-of-4, …"""
    return [str(Shard(index, count)) for index in range(count)]


def expand_all(path: str) -> list[str]:
    """List the paths of all shards where the path has a part such as all-of-4; else the path alone.

    Snakemake gives a shell the whole command as one argument, which may have 128 KiB: the paths of some 2,000 shards.
    """
    match = re.search(r"(?<![^/])all-of-(\d+)(?=[/.]|$)", path)
    return [path.replace(match[0], name) for name in names(int(match[1]))] if match else [path]


def stage_count(stage: str, count: int, results: str, benchmarks: Iterable[str]) -> int:
    """Return the number of shards that a stage of a run has (see `finished_count`); stage: a key of `shards`."""
    patterns = {
        "seeds": [f"{results}/seeds/{{shard}}/rollouts.parquet"],
        "annotation": [f"{results}/annotation/{{shard}}/status.parquet"],
        "bench": [f"{results}/bench/{name}/shards/{{shard}}.parquet" for name in benchmarks],
    }
    return finished_count(patterns[stage], count)


def finished_count(patterns: Sequence[str], count: int) -> int:
    """Return the number of shards in which a stage's tables are complete, or `count` where there is no other.

    A pattern is a table's path with {shard} in it. A finished stage keeps its shards when the configuration changes
    their number, so that nothing behind it runs again. Of several complete sets `count` goes first, then the newest.
    """
    complete: dict[int, float] = {}  # number of shards -> the time at which the first table was written
    for pattern in patterns:
        prefix, _, suffix = pattern.partition("{shard}")
        for first in Path(prefix).glob(f"0-of-*{suffix}"):
            match = re.fullmatch(r"0-of-([1-9][0-9]*)", str(first.relative_to(prefix)).removesuffix(suffix))
            if match and all(Path(f"{prefix}{name}{suffix}").is_file() for name in names(int(match[1]))):
                complete[int(match[1])] = first.stat().st_mtime
    return count if count in complete or not complete else max(complete, key=lambda number: complete[number])


def read_shard(paths: Sequence[Path], shard: Shard) -> list[Problem]:
    """Read the shard's problems, in the order of their ids; those of other shards are not read with their images.

    UserError where an id occurs twice in all of the tables.
    """
    ids = (
        problem_id
        for path in paths
        for batch in tables.batches(path, schemas.PROBLEMS, ("problem_id",))
        for problem_id in batch["problem_id"].to_pylist()
    )
    advice = "ids must differ over all sources of a stage: rename them in the source"
    own = [problem_id for problem_id in tables.unique(ids, "problem", paths, advice) if shard.owns(problem_id)]
    wanted = None if shard.count == 1 else own
    return sorted(read_problems(*paths, only=wanted), key=lambda problem: problem.problem_id)
