"""Shards: which problems one owns, which there are, and how all of them are named at once.

In: problem tables, folders. Out: the shard's problems, by id; names and paths.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmprm import tables
from mmprm.errors import UserError
from mmprm.problem import Problem, read_problems


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count` of a stage's problems."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise UserError(f"shard {self}: the index must be at least 0 and below the count")

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`0-of-4`; UserError where it is written otherwise."""
        match = re.fullmatch(r"(\d+)-of-(\d+)", text)
        if match is None:
            raise UserError(f"{text!r} is not a shard; write it as 0-of-4 (index-of-count)")
        return cls(int(match[1]), int(match[2]))

    def owns(self, problem_id: str) -> bool:
        """Does the problem belong to this shard? By a stable hash of its id."""
        digest = hashlib.sha256(problem_id.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index


def read_shard(paths: Sequence[Path], shard: Shard) -> list[Problem]:
    """The shard's problems, by id; UserError where an id occurs twice in all of the tables.

    Only the shard's own are read with their images.
    """
    ids = [
        name
        for path in paths
        for part in tables.batches(path, tables.PROBLEMS, ("problem_id",))
        for name in part["problem_id"].to_pylist()
    ]
    twice = [name for name, times in Counter(ids).items() if times > 1]
    if twice:
        raise UserError(
            f"{len(twice)} problem ids occur twice in {', '.join(map(str, paths))}, first {sorted(twice)[0]!r}; "
            "ids must differ over all sources of a stage: rename them in the source"
        )
    own = None if shard.count == 1 else [name for name in ids if shard.owns(name)]
    return sorted(read_problems(*paths, only=own), key=lambda problem: problem.problem_id)


def names(count: int) -> list[str]:
    """0-of-4, 1-of-4, …"""
    return [f"{index}-of-{count}" for index in range(count)]


def in_use(patterns: Sequence[str], count: int) -> int:
    """The number of shards that a stage's tables have: `count`, or another one in which they lie there whole.

    A pattern is a table's path with {shard} in it. So a finished stage keeps its shards when the configuration says
    another number: nothing that depends on it is made again. Of several numbers the last written counts.
    """
    whole = {number: written for pattern in patterns for number, written in _whole(pattern).items()}
    return count if count in whole or not whole else max(whole, key=lambda number: whole[number])


def _whole(pattern: str) -> dict[int, float]:
    """Each number of shards that is complete, and when its first shard was written."""
    folder, _, rest = pattern.partition("{shard}")
    place = Path(folder)
    found: dict[int, set[int]] = defaultdict(set)
    for entry in place.iterdir() if place.is_dir() else ():
        match = re.fullmatch(r"(\d+)-of-(\d+)", entry.name.removesuffix(rest))
        if match is not None and int(match[1]) < int(match[2]):
            found[int(match[2])].add(int(match[1]))
    whole = {}
    for number, there in found.items():
        files = [Path(f"{folder}{name}{rest}") for name in names(number)] if len(there) == number else []
        if files and all(file.is_file() for file in files):
            whole[number] = files[0].stat().st_mtime
    return whole


def each(path: str) -> list[str]:
    """The paths of all shards where one is named all-of-4 in it; else the path alone.

    A command may have no argument of more than 128 KiB, and Snakemake gives a shell the whole line as one: it holds
    the paths of some 2,000 shards.
    """
    match = re.search(r"(?<![^/])all-of-(\d+)(?=[/.]|$)", path)
    return [path.replace(match[0], name) for name in names(int(match[1]))] if match else [path]


def patterns(stage: str, results: str, benchmarks: Iterable[str]) -> list[str]:
    """Of a key of `shards`, the tables by which `in_use` tells the number of its shards."""
    return {
        "seeds": [f"{results}/seeds/{{shard}}/rollouts.parquet"],
        "annotation": [f"{results}/annotation/{{shard}}/status.parquet"],
        "bench": [f"{results}/bench/{name}/shards/{{shard}}.parquet" for name in benchmarks],
    }[stage]
