"""Under which licence what is made from data and models is given away. In: the configuration. Out: the hub's keys."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmprm.config import Config
from mmprm.config.data_files import DataFiles
from mmprm.config.sources import DERIVED

UNKNOWN = "unknown"
_IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9.-]*")  # the form of the hub's identifiers
_CACHED = re.compile(r"models--([\w.-]+?)--([\w.-]+)")  # how the hub's cache calls the folder of a model


def licence_of(licences: Iterable[str | None]) -> dict[str, Any]:
    """Return the hub's licence, or licences, of what is made from data under these; unknown, if that of any is.

    None stands for data that was drawn here. Where one of them is not an identifier of the hub, the licence is
    `other`, with all of them as its name.
    """
    names = sorted({name or "drawn-here" for name in licences})
    if not names or UNKNOWN in names:
        return {"license": UNKNOWN}
    if all(_IDENTIFIER.fullmatch(name) for name in names) and "drawn-here" not in names:
        return {"license": names[0] if len(names) == 1 else names}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", " ".join(names).lower()).strip("-")}


def lineage(config: Config, names: Sequence[str]) -> list[str]:
    """Return the sources and all that they are made of, each after its parents."""
    ordered: list[str] = []

    def visit(name: str) -> None:
        settings = config.sources[name]
        for parent in settings.sources if isinstance(settings, DERIVED) else ():
            visit(parent)
        if name not in ordered:
            ordered.append(name)

    for name in names:
        visit(name)
    return ordered


def files_read(config: Config, sources: Sequence[str], step_data: Sequence[str] = ()) -> dict[str, Any]:
    """Return, by name, the sections whose rows the sources and step data are made of; derived sources are no rows."""
    known = {name: config.sources[name] for name in lineage(config, sources)}
    read = {name: settings for name, settings in known.items() if not isinstance(settings, DERIVED)}
    return read | {name: config.step_data[name] for name in step_data}


def data_licences(config: Config, sources: Sequence[str], step_data: Sequence[str] = ()) -> dict[str, str | None]:
    """Return the licence of each source that was read; None where its problems were drawn here."""
    return {name: getattr(one, "licence", None) for name, one in files_read(config, sources, step_data).items()}


def repositories(config: Config, sources: Sequence[str], step_data: Sequence[str] = ()) -> list[str]:
    """Return the hub's data sets that were read, in order, each once."""
    read = files_read(config, sources, step_data).values()
    return list(dict.fromkeys(one.repo for one in read if isinstance(one, DataFiles) and one.repo))


def base_model(config: Config) -> str | None:
    """Return owner/name of the base model: what `publish` says, or its folder in the hub's cache; None if unknown."""
    if config.publish.base_model:
        return config.publish.base_model
    cached = next(filter(None, (_CACHED.fullmatch(part) for part in config.policy.base.absolute().parts)), None)
    return f"{cached[1]}/{cached[2]}" if cached else None


def base_licence(config: Config) -> str:
    """Return the base model's licence: what `publish` says, or the front matter of its README.md."""
    return config.publish.base_licence or _stated(config.policy.base / "README.md") or UNKNOWN


def _stated(readme: Path) -> str | None:
    """Return the licence of a card's front matter; `license_name` where it is `other`. None if it states none."""
    from huggingface_hub import metadata_load

    try:
        front = metadata_load(readme) or {}
    except Exception:  # whatever a stranger's file makes of YAML: it states nothing
        return None
    stated = front.get("license_name") if front.get("license") == "other" else front.get("license")
    return stated if isinstance(stated, str) else None
