"""The part of report and data card on the consensus filter. In: labels/consensus.json. Out: its counts, with shares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmprm.config import Config
from mmprm.report import results

Row = dict[str, Any]


def consensus(config: Config, folder: Path) -> Row | None:
    """What the judging model left of the training paths; None where none is configured, or has judged yet.

    kinds: a row for each kind of path, and one for all: {kind, paths, agreed, disagreed, unreadable}.
    """
    found = results.read_json(folder / "labels" / "consensus.json") if config.labels.consensus else None
    if found is None:
        return None
    kinds = [{"kind": kind, "paths": sum(counts.values()), **counts} for kind, counts in found["by_kind"].items()]
    sums = {name: sum(row[name] for row in kinds) for name in ("paths", "agreed", "disagreed", "unreadable")}
    return {**found, "kinds": [*kinds, {"kind": "all", **sums}] if kinds else []}
