"""The templates of pages and cards. In: their filters. Out: where jinja finds them, and how it fills them in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jinja2


def environment(autoescape: bool, filters: dict[str, Callable[..., Any]]) -> jinja2.Environment:
    """autoescape: for HTML; a card in markdown escapes by a filter of its own. A name that is not given is an error."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("mmprm.report", "."),
        autoescape=autoescape,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    found.filters |= filters
    return found
