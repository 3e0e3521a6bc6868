"""The held-out test of a curated source. In: problem ids and groups, or its table. Out: whole groups, as a source."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from mmprm.curation.mix import random_rank
from mmprm.data import schemas, tables
from mmprm.data.problem import row_of, stream_problems
from mmprm.runtime.errors import UserError


def choose_test(ids: Sequence[str], groups: Sequence[str], size: int, seed: int) -> set[int]:
    """Choose at most `size` problems, by index, in whole groups and random order.

    A group that is larger than what is left to choose is skipped.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for index, (name, group) in enumerate(zip(ids, groups, strict=True)):
        members[f"group {group}" if group else f"problem {name}"].append(index)
    chosen: set[int] = set()
    for name in sorted(members, key=lambda key: random_rank(seed, key)):
        if len(chosen) + len(members[name]) <= size:
            chosen.update(members[name])
    return chosen


def publish(test: Path, out: Path, refused: Path) -> None:
    """Write the test problems as a source of its own, without refused rows; UserError where there are none."""
    if not tables.count(test):
        raise UserError(f"{test}: no problem is held out; its groups are larger than test_size, or the pool is empty")
    tables.write(out, map(row_of, stream_problems(test)), schemas.PROBLEMS)
    tables.write(refused, [], schemas.REFUSED)
