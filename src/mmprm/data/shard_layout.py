"""Where the tables of all shards lie, what they are called, and how many there are. In: folders. Out: names, paths."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path


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
