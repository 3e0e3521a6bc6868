"""The templates of pages and cards, how values are shown in them, and what experiments may add to them.

HTML is escaped by jinja; a card in markdown escapes by the filter `md`. A value that is not given is an error.
"""

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from mmprm.config import Config

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_LONGEST = 300  # characters of a text in a card


def render_template(template: str, package: str = "mmprm.report", **values: Any) -> str:
    """Fill in a template that lies in the package; one of HTML may import macros of the report."""
    folders = [jinja2.PackageLoader(name, ".") for name in dict.fromkeys([package, "mmprm.report"])]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(folders),
        autoescape=jinja2.select_autoescape(["html.jinja"]),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value) if isinstance(value, str) else value,
    )
    environment.filters |= FILTERS
    return environment.get_template(template).render(values)


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


def printable(text: str) -> str:
    """Replace what no page and no file can hold by U+FFFD: control characters but line ends and tabs, surrogates."""
    return type(text)(_UNPRINTABLE.sub("\ufffd", text))  # Markup stays Markup


def escaped(value: Any) -> str:
    """Make text fit for a line or a cell of markdown: shortened, on one line, and neither HTML nor markdown."""
    text = " ".join(str("–" if value is None else value).split())
    return re.sub(r"([\\`*_{}\[\]#+!|~$])", r"\\\1", html.escape(shorten(text, _LONGEST), quote=False))


def shorten(text: str, longest: int) -> str:
    """Return at most `longest` characters of a text, and a mark where some are cut."""
    return text if len(text) <= longest else f"{text[:longest]} …"


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


@dataclass(frozen=True)
class CardPart:
    """A section of the data card, and the names of the tables in labels/ that it adds to the data set."""

    markdown: str
    tables: Sequence[str] = ()


class ReportExtra:
    """One experiment's parts of the pages of the run in `folder`; None where the run has nothing of it."""

    def below_benchmark(self, folder: Path, benchmark: str, variant: str) -> Markup | None:
        """Return HTML to stand below the results of a benchmark and variant."""
        return None

    def in_labels(self, config: Config, folder: Path) -> Markup | None:
        """Return HTML for the section on labels."""
        return None

    def in_card(self, config: Config, folder: Path) -> CardPart | None:
        """Return a section of the data card, to stand behind the one on labels."""
        return None
