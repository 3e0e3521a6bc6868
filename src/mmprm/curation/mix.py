"""The target mix. In: what the problems are, and the shares that are wanted. Out: which are taken.

Drawn by a hash of seed and id, so that a draw does not depend on the others: a problem is taken while each of its
values has room. Where the pool has too few of a value the mix is kept and there are fewer problems.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction

Mix = Mapping[str, Mapping[str, float]]
REST = "*"  # all values that the mix does not name


def draw(seed: int, name: str) -> bytes:
    """The place of a problem or group in the lottery."""
    return hashlib.sha256(f"{seed}\x1fcuration\x1f{name}".encode()).digest()


def wanted(mix: Mix, size: int) -> dict[str, dict[str, int]]:
    """How many problems of each value; what the shares leave is for REST. Rounded by the largest remainders."""
    found: dict[str, dict[str, int]] = {}
    for column, shares in mix.items():
        exact = {value: Fraction(str(share)) for value, share in shares.items()}
        exact[REST] = exact.get(REST, Fraction(0)) + max(1 - sum(exact.values()), Fraction(0))
        counts = {value: int(share * size) for value, share in exact.items()}
        by_rest = sorted(exact, key=lambda value: (counts[value] - exact[value] * size, value))
        for value in by_rest[: size - sum(counts.values())]:
            counts[value] += 1
        found[column] = counts
    return found


def largest(mix: Mix, values: Mapping[str, Sequence[str]], n: int) -> int:
    """The most problems for which the pool has enough of each value of each column on its own."""
    size = n
    for column, shares in mix.items():
        there = Counter(value if value in shares else REST for value in values[column])
        rest = max(1 - sum(Fraction(str(share)) for share in shares.values()), Fraction(0))
        exact = {value: Fraction(str(share)) for value, share in shares.items()} | ({REST: rest} if rest else {})
        size = min([size, *(int(there[value] / share) for value, share in exact.items() if share)])
    return size


def take(ids: Sequence[str], values: Mapping[str, Sequence[str]], mix: Mix, size: int, seed: int) -> set[int]:
    """The places of the problems that are taken, at most `size`.

    values: of each column of the mix, each problem's value."""
    room = wanted(mix, size)
    taken: set[int] = set()
    for at in sorted(range(len(ids)), key=lambda place: draw(seed, ids[place])):
        own = {column: values[column][at] if values[column][at] in mix[column] else REST for column in mix}
        if len(taken) < size and all(room[column][value] > 0 for column, value in own.items()):
            taken.add(at)
            for column, value in own.items():
                room[column][value] -= 1
    return taken
