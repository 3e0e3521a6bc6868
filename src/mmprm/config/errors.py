"""What is wrong with a configuration, in words. In: pydantic's errors. Out: a line for each. Part of `config`."""

from __future__ import annotations

import re
from typing import Any, get_args

from pydantic import BaseModel

from mmprm.config.section import Section
from mmprm.config.sources import KINDS


def explain(problem: Any, config: type[Section]) -> str:
    """A line for one of pydantic's errors: the key, what is wrong or allowed, and the value."""
    kind, message, value = problem["type"], problem["msg"].removeprefix("Value error, "), problem.get("input")
    place = [str(part) for part in problem["loc"]]
    if kind == "extra_forbidden":
        message = f"there is no such key; allowed: {_keys_at(config, place[:-1])}"
    elif kind in ("missing", "union_tag_not_found"):
        message = "this key is needed"
    if kind.startswith("union_tag"):
        place.append("kind")
        value = value.get("kind") if isinstance(value, dict) else value
    elif place and place[-1] == "[key]":
        place.pop()  # what follows the name of a wrong key of a mapping
    # A source's place names its kind too, which is no key.
    in_source = place[2:3] and place[2] in KINDS.get(place[0], ())
    key = ".".join(place[:2] + place[3:] if in_source else place)
    line = f"  {key}: {message}" if key else f"  {message}"
    if message == "this key is needed" or kind == "value_error":  # the one has no value, the other's message says it
        return line
    if kind == "extra_forbidden" and re.search(r"key|token|secret|password", key):  # it must not reach a log
        return line
    return f"{line} (got {value!r:.200})"


def _keys_at(config: type[Section], place: list[str]) -> list[str]:
    """The keys of the section at a place in the configuration, as pydantic writes places."""
    section: Any = config
    for part in place:
        if isinstance(section, type) and issubclass(section, BaseModel):
            section = section.model_fields[part].annotation
        elif part in KINDS.get(place[0], ()):
            section = KINDS[place[0]][part]
        else:  # a name in a mapping: go on to what it names
            section = get_args(section)[1]
        if type(None) in get_args(section):
            section = get_args(section)[0]
    return sorted(section.model_fields)
