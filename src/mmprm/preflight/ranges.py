"""Numbers that are known as a range. In: two bounds. Out: sums and products of ranges."""

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Range:
    """From `low` to `high`; `mean` is their geometric mean, since the factors of a cost are uncertain by factors."""

    low: float
    high: float

    @property
    def mean(self) -> float:
        """The value in the middle."""
        return math.sqrt(self.low * self.high) if self.low > 0 else self.high / 2

    def __add__(self, other: "Range | float") -> "Range":
        other = as_range(other)
        return Range(self.low + other.low, self.high + other.high)

    def __mul__(self, other: "Range | float") -> "Range":
        other = as_range(other)
        return Range(self.low * other.low, self.high * other.high)

    def __truediv__(self, other: "Range | float") -> "Range":
        other = as_range(other)
        return Range(self.low / other.high, self.high / other.low)

    def at_most(self, bound: float) -> "Range":
        """Return the range cut at a bound."""
        return Range(min(self.low, bound), min(self.high, bound))

    def as_dict(self, digits: int | None = None) -> dict[str, Any]:
        """Return it for a JSON file, rounded."""
        return {name: round(getattr(self, name), digits) for name in ("mean", "low", "high")}


def as_range(value: "Range | float") -> Range:
    """Return a range, or the one of a single number."""
    return value if isinstance(value, Range) else Range(value, value)
