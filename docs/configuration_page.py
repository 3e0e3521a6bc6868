"""Write docs/configuration.md from the pydantic models of `mmprm.config`: every key with type, default, range, meaning.

python docs/configuration_page.py            # rewrite the page
python docs/configuration_page.py --check    # status 1 where page and models differ
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from made_page import write_or_check
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from mmprm.config import Config

PAGE = Path(__file__).with_name("configuration.md")
HEAD = """\
# Configuration

<!-- Made by `python docs/configuration_page.py` from the models in src/mmprm/config: edit those. -->

A configuration is one YAML file: `--configfile FILE` gives it whole, and without one `workflow_config.yaml` is taken.
What it does not name has the default below; a key that is not here, or a value out of its range, ends the run before
any job starts.
`mmprm config FILE` prints a configuration with every default filled in.
"""
_BOUNDS = {"gt": "> {}", "ge": "≥ {}", "lt": "< {}", "le": "≤ {}", "min_length": "at least {} long", "pattern": "`{}`"}


def sections(model: type[BaseModel], key: str, level: int, done: dict[type[BaseModel], str]) -> Iterator[str]:
    """Yield the page's part on a model: its table, then those of the models below it; a model is described once."""
    done[model] = key
    yield f"{'#' * level} {f'`{key}`' if key else 'Top level'}\n"
    yield f"{_paragraph(model)}\n"
    yield "| key | type | default | range | meaning |\n|---|---|---|---|---|"
    below: list[tuple[type[BaseModel], str]] = []
    for name, field in model.model_fields.items():
        yield f"| `{name}` | {_type(field.annotation)} | {_default(field)} | {_range(field)} | {_meaning(field)} |"
        path = f"{key}.{name}" if key else name
        if typing.get_origin(field.annotation) is dict:
            path += ".<name>"
        children = list(dict.fromkeys(_models(field.annotation)))
        for child in children:
            kind = f" (kind: {_kind(child)})" if len(children) > 1 else ""
            below.append((child, path + kind))
    yield ""
    for child, path in below:
        if child not in done:
            yield from sections(child, path, min(level + 1, 4), done)


def page() -> str:
    """Return the whole page."""
    return HEAD + "\n" + "\n".join(sections(Config, "", 2, {}))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models(part)


def _kind(model: type[BaseModel]) -> str:
    field = model.model_fields.get("kind") or model.model_fields.get("by")
    return ", ".join(map(str, typing.get_args(field.annotation))) if field else model.__name__


def _paragraph(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


_NAMES = {"str": "text", "int": "integer", "float": "number", "bool": "true or false", "Path": "path"}


def _type(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is None:
        is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
        name = getattr(annotation, "__name__", str(annotation))
        return "section" if is_section else _NAMES.get(name, name)
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        parts = list(dict.fromkeys(_type(part) for part in arguments if part is not type(None)))
        return " or ".join([*parts, "null"] if type(None) in arguments else parts)
    inner = _type(arguments[-1] if origin is dict else arguments[0])
    return {list: f"list of {inner}", tuple: f"list of {inner}", dict: f"mapping of names to {inner}"}.get(
        origin, inner
    )


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True) if field.default is PydanticUndefined else field.default
    if isinstance(value, BaseModel) or (
        isinstance(value, dict) and value and isinstance(next(iter(value.values())), BaseModel)
    ):
        return "see its keys"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{list(value) if isinstance(value, tuple) else value}`" if value != "" else "empty"


def _range(field: FieldInfo) -> str:
    bounds = []
    for item in field.metadata:
        for name, form in _BOUNDS.items():
            if getattr(item, name, None) is not None:
                bounds.append(form.format(getattr(item, name)))
    return ", ".join(bounds).replace("|", "\\|") or "–"


def _meaning(field: FieldInfo) -> str:
    parts = " ".join((field.description or "").split()).replace("|", "\\|").split("`")
    return "`".join(part if at % 2 else part.replace("<", "&lt;") for at, part in enumerate(parts))  # no HTML tags


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page(), "the models say"))
