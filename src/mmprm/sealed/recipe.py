"""What a sealed test and a look at it follow from. In: the configuration. Out: hashes that tell whether two are one."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from mmprm.config import Config
from mmprm.config.section import Section, is_result

# What the outcome of a sealed test depends on; other sections make pages, or plan, or cut into jobs.
_SECTIONS = (
    *("seed", "sources", "step_data", "intake", "prompt", "policy", "sampling", "seeds", "annotation", "labels", "prm"),
    *("bench", "grading"),
)


def recipe_digest(config: Config, test: str) -> str:
    """Hash what the problems of a sealed test follow from beside its seed: its source, and those it is made from."""
    names, pending = [], [config.sealed[test].source]
    while pending:
        names.append(pending.pop())
        pending += getattr(config.sources[names[-1]], "sources", ())
    return _digest([config.sources[name] for name in names])


def settings_digest(config: Config, test: str) -> str:
    """Hash the settings on which the outcome of a sealed test depends: the same for all runs that must agree on it."""
    return _digest([config.sealed[test], *(getattr(config, name) for name in _SECTIONS)])


def _digest(values: Sequence[Any]) -> str:
    text = json.dumps([_plain(value) for value in values], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Return a value of the configuration as JSON has it, without what changes no result."""
    if isinstance(value, Section):
        return dict(_fields(value))
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _fields(section: Section) -> Iterator[tuple[str, Any]]:
    for name, field in type(section).model_fields.items():
        if is_result(field):
            yield name, _plain(getattr(section, name))
