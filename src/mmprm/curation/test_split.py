"""The test split. In: problems' ids and groups. Out: which problems are set aside: whole groups, drawn by a hash."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from mmprm.curation.mix import draw


def set_aside(ids: Sequence[str], groups: Sequence[str], size: int, seed: int) -> set[int]:
    """The places of at most `size` problems; a group that is larger than what is left to take is passed over."""
    members: dict[str, list[int]] = defaultdict(list)
    for place, (name, group) in enumerate(zip(ids, groups, strict=True)):
        members[f"group {group}" if group else f"problem {name}"].append(place)
    taken: set[int] = set()
    for name in sorted(members, key=lambda key: draw(seed, key)):
        if len(taken) + len(members[name]) <= size:
            taken.update(members[name])
    return taken
