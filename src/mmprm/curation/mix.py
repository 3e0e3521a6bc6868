"""The target mix and the held-out test. In: ids, properties and groups of the problems. Out: which ones are chosen.

Problems are chosen in the order of a hash of seed and id, so that a draw does not depend on the others. Where the pool
has too few of a value, the mix is kept and fewer problems are taken.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction

Mix = Mapping[str, Mapping[str, float]]  # column -> value -> share
REST = "*"  # all values that the mix does not name


def _random_rank(seed: int, name: str) -> bytes:
    """Return the rank of a problem or group in a random order that the seed determines."""
    return hashlib.sha256(f"{seed}\x1fcuration\x1f{name}".encode()).digest()


def quotas(mix: Mix, size: int) -> dict[str, dict[str, int]]:
    """Return how many problems each value may have, rounded by the largest remainders; REST gets what is left."""
    by_column: dict[str, dict[str, int]] = {}
    for column, shares in mix.items():
        exact = {value: Fraction(str(share)) for value, share in shares.items()}
        exact[REST] = exact.get(REST, Fraction(0)) + max(1 - sum(exact.values()), Fraction(0))
        counts = {value: int(share * size) for value, share in exact.items()}
        by_remainder = sorted(exact, key=lambda value: (counts[value] - exact[value] * size, value))
        for value in by_remainder[: size - sum(counts.values())]:
            counts[value] += 1
        by_column[column] = counts
    return by_column


def largest_size(mix: Mix, values: Mapping[str, Sequence[str]], n: int) -> int:
    """Return the most of `n` problems for which the pool has enough of each value, column by column."""
    size = n
    for column, shares in mix.items():
        available = Counter(value if value in shares else REST for value in values[column])
        rest = max(1 - sum(Fraction(str(share)) for share in shares.values()), Fraction(0))
        exact = {value: Fraction(str(share)) for value, share in shares.items()} | ({REST: rest} if rest else {})
        size = min([size, *(int(available[value] / share) for value, share in exact.items() if share)])
    return size


def take(ids: Sequence[str], values: Mapping[str, Sequence[str]], mix: Mix, size: int, seed: int) -> set[int]:
    """Return the indices of at most `size` problems, in random order, while each of their values has room."""
    room = quotas(mix, size)
    taken: set[int] = set()
    for index in sorted(range(len(ids)), key=lambda index: _random_rank(seed, ids[index])):
        named = {column: values[column][index] if values[column][index] in mix[column] else REST for column in mix}
        if len(taken) < size and all(room[column][value] > 0 for column, value in named.items()):
            taken.add(index)
            for column, value in named.items():
                room[column][value] -= 1
    return taken


def choose_test(ids: Sequence[str], groups: Sequence[str], size: int, seed: int) -> set[int]:
    """Choose at most `size` problems, by index, in whole groups; a group larger than what is left is skipped."""
    members: dict[str, list[int]] = defaultdict(list)
    for index, (name, group) in enumerate(zip(ids, groups, strict=True)):
        members[f"group {group}" if group else f"problem {name}"].append(index)
    chosen: set[int] = set()
    for name in sorted(members, key=lambda key: _random_rank(seed, key)):
        if len(chosen) + len(members[name]) <= size:
            chosen.update(members[name])
    return chosen
