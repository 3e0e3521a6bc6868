"""Which problems a shard owns. In: problem tables. Out: the shard's problems, by id."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmprm.data import tables
from mmprm.data.problem import Problem, read_problems
from mmprm.runtime.errors import UserError


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
