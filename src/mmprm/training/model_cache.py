"""Trained models that several runs share, by what they were trained from. In: MMPRM_CACHE, a folder. Out: a model.

Snakemake's own cache of outputs cannot hold them: it takes no rule with a benchmark, and a model's files have names
that only its training knows (weights in parts, this or that tokenizer), so that no rule can declare them. Here a model
lies in a folder by its key, whole: it is copied beside, and then renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmprm.model import folders
from mmprm.runtime.cache import shared

_VERSION = "1"  # to be raised when the same inputs and settings make another model


def key(settings: dict[str, Any], tables: Sequence[Path]) -> str:
    """Of all that decides a training: its settings, which hold the fingerprint of the model that it starts from, and
    the content of the tables that it reads."""
    whole = hashlib.sha256(f"{_VERSION}\x1f{json.dumps(settings, sort_keys=True)}".encode())
    for path in tables:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()[:32]


def fetch(name: str, out: Path) -> bool:
    """Copy the model of this key to `out`, its manifest last; False where there is none, or no MMPRM_CACHE."""
    kept = _folder(name)
    if kept is None or not (kept / folders.MANIFEST).is_file():
        return False
    folders.check_manifest(kept)
    for path in sorted(kept.iterdir(), key=lambda path: path.name == folders.MANIFEST):
        shutil.copy2(path, out / path.name)
    os.utime(out / folders.MANIFEST)  # Snakemake compares it with its inputs
    return True


def store(name: str, out: Path) -> None:
    """Keep a copy of the model folder `out` under this key, where MMPRM_CACHE is set and has none."""
    kept = _folder(name)
    if kept is None or kept.is_dir():
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".") as scratch:
        copy = Path(scratch) / name
        shutil.copytree(out, copy)
        try:
            copy.rename(kept)
        except OSError:  # another run has stored the same a moment ago
            if not kept.is_dir():
                raise


def _folder(name: str) -> Path | None:
    folder = shared("models")
    return folder / name if folder else None
