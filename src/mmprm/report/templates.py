"""The templates of pages and cards, and how values are shown in them. In: a template's name and values. Out: text.

HTML is escaped by jinja; a card in markdown escapes by the filter `md`. A value that is not given is an error.
"""

import html
import re
from collections.abc import Callable
from typing import Any

import jinja2

_LONGEST = 300  # characters of a text in a card


def render_html(template: str, package: str = "mmprm.report", **values: Any) -> str:
    """Fill in a template of HTML that lies in the package; macros of the report may be imported into it."""
    return _environment(package, autoescape=True).get_template(template).render(values)


def render_markdown(template: str, package: str = "mmprm.report", **values: Any) -> str:
    """Fill in a template of markdown that lies in the package."""
    return _environment(package, autoescape=False).get_template(template).render(values)


def _environment(package: str, autoescape: bool) -> jinja2.Environment:
    folders = [jinja2.PackageLoader(name, ".") for name in dict.fromkeys([package, "mmprm.report"])]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(folders),
        autoescape=autoescape,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= FILTERS
    return environment


def _or_dash(show: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: "–" if value is None else show(value).replace("-", "−")


percent = _or_dash(lambda value: f"{100 * value:.1f}")
points = _or_dash(lambda value: f"{100 * value:+.1f}")
fixed = _or_dash(lambda value: f"{value:.3f}")
number = _or_dash(lambda value: f"{value:,.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else f"{value:,}")


def duration(seconds: float | None) -> str:
    """Show seconds as `8.3 s`, `2 min 05 s` or `3 h 02 min`."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def escaped(value: Any) -> str:
    """Make text fit for a line or a cell of markdown: shortened, on one line, and neither HTML nor markdown."""
    text = " ".join(str("–" if value is None else value).split())
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
    return re.sub(r"([\\`*_{}\[\]#+!|~$])", r"\\\1", html.escape(text, quote=False))


def counts_in_words(counts: dict[str, int]) -> str:
    """Show counts as `12 near duplicate, 3 proof`."""
    return escaped(", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items()) or "–")


# By their names in templates.
FILTERS: dict[str, Callable[..., str]] = {
    "pct": percent,
    "points": points,
    "num": number,
    "time": duration,
    "fixed": fixed,
    "md": escaped,
    "words": counts_in_words,
}
