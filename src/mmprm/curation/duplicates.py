"""Near duplicates, and who belongs together. In: a pool. Out: of each duplicate the row that it repeats; groups.

Two problems are one where their pictures are near, one by one, their numbers the same, and either their words the
same, or their answers the same and enough of the words that tell something. A template with other numbers, the same
words under another figure, and another question about the same picture (which shares its group) are no duplicates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmprm.curation import texts
from mmprm.curation.problem_index import ProblemIndex
from mmprm.curation.similarity import Pairs, Pictures, Rows, mixed, root, text_keys, together

# The share of telling words that two problems with the same answer have in common: with near pictures and the same
# numbers, with near pictures and no numbers, without pictures.
ALIKE_NUMBERS, ALIKE, ALIKE_ALONE = 0.25, 0.5, 0.8


def duplicates(pool: ProblemIndex, pictures: Pictures, rows: Rows) -> dict[int, int]:
    """Of each row that repeats one before it: that one, which is kept itself. rows: those that are still in."""
    pairs: dict[int, list[int]] = {}
    for one, other in _candidates(pool, pictures, rows):
        if is_same(pool, pictures, one, other):
            pairs.setdefault(other, []).append(one)
    found: dict[int, int] = {}
    for row in sorted(pairs):
        first = next((before for before in pairs[row] if before not in found), None)
        if first is not None:
            found[row] = first
    return found


def is_same(pool: ProblemIndex, pictures: Pictures, one: int, other: int) -> bool:
    """Are two rows the same problem?"""
    mine, theirs = pool.picture[one], pool.picture[other]
    if len(mine) != len(theirs) or pool.numbers[one] != pool.numbers[other]:
        return False
    if not all(pictures.near(a, b) for a, b in zip(mine, theirs, strict=True)):
        return False
    if pool.text[one] == pool.text[other]:
        return True
    alike = texts.jaccard(pool.words[one], pool.words[other])
    enough = ALIKE_ALONE if not len(mine) else ALIKE_NUMBERS if pool.numbers[one] else ALIKE
    return bool(pool.gold[one] == pool.gold[other] and alike >= enough)


def numbers_key(pool: ProblemIndex, rows: Rows) -> NDArray[np.uint64]:
    """A hash of each row's numbers."""
    return np.array([texts.hashed(" ".join(pool.numbers[row])) for row in rows], dtype=np.uint64)


def _candidates(pool: ProblemIndex, pictures: Pictures, rows: Rows) -> Pairs:
    shown = np.zeros(len(rows), dtype=np.uint64)
    for at, row in enumerate(rows):
        clusters = [str(pictures.cluster[picture]) for picture in pool.picture[row]]
        shown[at] = texts.hashed(" ".join(clusters)) if clusters else 0
    gold, numbers = pool.gold[rows], numbers_key(pool, rows)
    with_pictures, alone = np.flatnonzero(shown), np.flatnonzero(shown == 0)
    keyed = [
        (np.arange(len(rows)), mixed(shown, pool.text[rows])),
        (with_pictures, mixed(shown, numbers, gold)[with_pictures]),
        *((alone, mixed(key, numbers[alone], gold[alone])) for key in text_keys(pool, rows[alone])),
    ]
    found = Pairs(len(pool))
    for places, keys in keyed:
        for one, other in together(keys):
            pair = rows[places[one]], rows[places[other]]
            found.add(np.minimum(*pair), np.maximum(*pair))
    return found


def groups(pool: ProblemIndex, pictures: Pictures, rows: Rows, repeated: dict[int, int]) -> list[str]:
    """A group's name for each of the rows: those that their source groups, that share a picture or a near one, or
    that one duplicate repeats (`repeated`: duplicate -> row). It is what their source calls it, else the id of the
    first; "" where a problem stands alone."""
    parents = np.arange(len(pool))
    first: dict[str, int] = {}

    def join(key: str, row: int) -> None:
        one, other = sorted((root(parents, first.setdefault(key, row)), root(parents, row)))
        parents[other] = one

    own = pool.column("group")
    for row in rows.tolist():
        if own[row]:
            join(f"group {own[row]}", row)
        for picture in pool.picture[row]:
            join(f"picture {pictures.cluster[picture]}", row)
    for duplicate, row in sorted(repeated.items()):
        for picture in pool.picture[duplicate]:
            join(f"picture {pictures.cluster[picture]}", row)
    members: dict[int, list[int]] = {}
    for row in rows.tolist():
        members.setdefault(root(parents, row), []).append(row)
    names = {
        at: next((own[row] for row in found if own[row]), pool.ids[found[0]] if len(found) > 1 else "")
        for at, found in members.items()
    }
    return [names[root(parents, row)] for row in rows.tolist()]
