"""Errors of a configuration, in words. In: pydantic's errors. Out: a line for each."""

import re
from typing import Any, get_args

from pydantic import BaseModel

from mmprm.config.section import Section
from mmprm.config.sources import KINDS


def explain(problem: Any, config: type[Section]) -> str:
    """Return a line for one of pydantic's errors: the key, what is wrong or allowed, and the value."""
    kind, message, value = problem["type"], problem["msg"].removeprefix("Value error, "), problem.get("input")
    location = [str(part) for part in problem["loc"]]
    if kind == "extra_forbidden":
        message = f"there is no such key; allowed: {_keys_at(config, location[:-1])}"
    elif kind in ("missing", "union_tag_not_found"):
        message = "this key is needed"
    if kind.startswith("union_tag"):
        location.append("kind")
        value = value.get("kind") if isinstance(value, dict) else value
    elif location and location[-1] == "[key]":
        location.pop()  # what follows the name of a wrong key of a mapping
    # A source's location names its kind too, which is no key.
    in_source = location[2:3] and location[2] in KINDS.get(location[0], ())
    key = ".".join(location[:2] + location[3:] if in_source else location)
    line = f"  {key}: {message}" if key else f"  {message}"
    if message == "this key is needed" or kind == "value_error":  # no value, or one that the message names
        return line
    if kind == "extra_forbidden" and re.search(r"key|token|secret|password", key):  # it must not reach a log
        return line
    return f"{line} (got {value!r:.200})"


def _keys_at(config: type[Section], location: list[str]) -> list[str]:
    """List the keys of the section at a location, as pydantic writes locations."""
    section: Any = config
    for part in location:
        if isinstance(section, type) and issubclass(section, BaseModel):
            section = section.model_fields[part].annotation
        elif part in KINDS.get(location[0], ()):
            section = KINDS[location[0]][part]
        else:  # a name in a mapping: go on to what it names
            section = get_args(section)[1]
        if type(None) in get_args(section):
            section = get_args(section)[0]
    return sorted(section.model_fields)
