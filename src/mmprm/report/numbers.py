"""Numbers as pages and cards show them, with a dash for what is not there. In: values. Out: text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _or_dash(show: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: "–" if value is None else show(value).replace("-", "−")


percent = _or_dash(lambda value: f"{100 * value:.1f}")
points = _or_dash(lambda value: f"{100 * value:+.1f}")
fixed = _or_dash(lambda value: f"{value:.3f}")
number = _or_dash(lambda value: f"{value:,.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else f"{value:,}")


def duration(seconds: float | None) -> str:
    """Seconds as `8.3 s`, `2 min 05 s` or `3 h 02 min`."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


# By their names in templates.
FILTERS: dict[str, Callable[..., str]] = {
    "pct": percent,
    "points": points,
    "num": number,
    "time": duration,
    "fixed": fixed,
}
