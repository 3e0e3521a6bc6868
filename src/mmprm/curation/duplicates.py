"""Near duplicates and groups. In: a pool. Out: the row that each duplicate repeats; the group of each row.

Two problems are the same where their pictures are near, one by one, their numbers equal, and either their words equal,
or their answers equal and enough of their telling words shared. Not duplicates: a template with other numbers, the same
words about another figure, and another question about the same picture (which shares its group).
"""

from itertools import chain

import numpy as np

from mmprm.curation import texts
from mmprm.curation.problem_index import ProblemIndex
from mmprm.curation.similarity import Pairs, PictureClusters, Rows, combined_key, numbers_key, pairs_by_key, text_keys
from mmprm.problems.groups import first_members

# The share of telling words that two problems with the same answer must have in common: with near pictures and the same
# numbers, with near pictures and no numbers, without pictures.
# Lower ones take a problem and its last step for one (We-Math: shares up to 0.63 with one answer): they share a group.
ALIKE_NUMBERS, ALIKE, ALIKE_ALONE = 0.7, 0.8, 0.8


def duplicates(pool: ProblemIndex, pictures: PictureClusters, rows: Rows) -> dict[int, int]:
    """Map each of the rows that repeats an earlier one to that one, which is itself no duplicate."""
    earlier: dict[int, list[int]] = {}
    for first, second in _candidates(pool, pictures, rows):
        if is_same(pool, pictures, first, second):
            earlier.setdefault(second, []).append(first)
    repeated: dict[int, int] = {}
    for row in sorted(earlier):
        if originals := [before for before in earlier[row] if before not in repeated]:
            repeated[row] = originals[0]
    return repeated


def is_same(pool: ProblemIndex, pictures: PictureClusters, first: int, second: int) -> bool:
    """Tell whether two rows are the same problem."""
    shown = pool.picture[first], pool.picture[second]
    if len(shown[0]) != len(shown[1]) or pool.numbers[first] != pool.numbers[second]:
        return False
    if not all(pictures.near(a, b) for a, b in zip(*shown, strict=True)):
        return False
    if pool.text[first] == pool.text[second]:
        return True
    alike = texts.jaccard(pool.words[first], pool.words[second])
    enough = ALIKE_ALONE if not len(shown[0]) else ALIKE_NUMBERS if pool.numbers[first] else ALIKE
    return bool(pool.gold[first] == pool.gold[second] and alike >= enough)


def _candidates(pool: ProblemIndex, pictures: PictureClusters, rows: Rows) -> Pairs:
    shown = np.zeros(len(rows), dtype=np.uint64)
    for index, row in enumerate(rows):
        clusters = [str(pictures.cluster[picture]) for picture in pool.picture[row]]
        shown[index] = texts.hashed(" ".join(clusters)) if clusters else 0
    gold, numbers = pool.gold[rows], numbers_key(pool, rows)
    with_pictures, alone = np.flatnonzero(shown), np.flatnonzero(shown == 0)
    keyed = [
        (np.arange(len(rows)), combined_key(shown, pool.text[rows])),
        (with_pictures, combined_key(shown, numbers, gold)[with_pictures]),
        *((alone, combined_key(key, numbers[alone], gold[alone])) for key in text_keys(pool, rows[alone])),
    ]
    candidates = Pairs(len(pool))
    for indices, keys in keyed:
        for first, second in pairs_by_key(keys):
            pair = rows[indices[first]], rows[indices[second]]
            candidates.add(np.minimum(*pair), np.maximum(*pair))
    return candidates


def groups(pool: ProblemIndex, pictures: PictureClusters, rows: Rows, repeated: dict[int, int]) -> list[str]:
    """Name the group of each of the rows.

    A group has the rows that their source groups, that share a picture or a near one, or that one duplicate repeats
    (`repeated`: duplicate -> row). It has the source's name, else the id of its first row; "" where a row stands alone.
    """
    source_group = pool.column("group")
    first: dict[str, int] = {}  # of each group of the source and each cluster of pictures, a row
    pairs: list[tuple[int, int]] = []
    for shown, row in chain(((row, row) for row in rows.tolist()), sorted(repeated.items())):
        keys = [f"picture {pictures.cluster[picture]}" for picture in pool.picture[shown]]
        if shown == row and source_group[row]:
            keys.append(f"group {source_group[row]}")
        pairs += [(first.setdefault(key, row), row) for key in keys]
    joined = first_members(len(pool), np.array(pairs, dtype=np.int64).reshape(-1, 2))
    members: dict[int, list[int]] = {}
    for row in rows.tolist():
        members.setdefault(joined[row], []).append(row)
    names = {
        member: next((source_group[row] for row in group if source_group[row]), pool.ids[group[0]] * (len(group) > 1))
        for member, group in members.items()
    }
    return [names[joined[row]] for row in rows.tolist()]
