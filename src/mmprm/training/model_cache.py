"""Trained models that several runs share, by what they were trained from. In: MMPRM_CACHE, a folder. Out: a model.

Snakemake's own cache of outputs cannot hold them: it does not support rules with a benchmark, and the names of a
model's files (sharded weights, the tokenizer's files) are known only after training, so no rule can declare them. Here
a model is a folder named by its key; it is copied beside, and then renamed, so that it is complete or absent.
"""

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

_VERSION = "1"  # raise it when the same inputs and settings give another model


def key(settings: dict[str, Any], tables: Sequence[Path]) -> str:
    """Hash everything that decides a training: its settings, with the start model's fingerprint, and its tables."""
    sha = hashlib.sha256(f"{_VERSION}\x1f{json.dumps(settings, sort_keys=True)}".encode())
    for path in tables:
        with path.open("rb") as file:
            sha.update(hashlib.file_digest(file, "sha256").digest())
    return sha.hexdigest()[:32]


def fetch(name: str, out: Path) -> bool:
    """Copy the model of this key to `out`, its manifest last; return False if there is none, or no MMPRM_CACHE."""
    cached = shared("models", name)
    if cached is None or not (cached / folders.MANIFEST).is_file():
        return False
    folders.check_manifest(cached)
    for path in sorted(cached.iterdir(), key=lambda path: path.name == folders.MANIFEST):
        shutil.copy2(path, out / path.name)
    os.utime(out / folders.MANIFEST)  # Snakemake compares it with its inputs
    return True


def store(name: str, out: Path) -> None:
    """Copy the model folder `out` into the cache under this key, if MMPRM_CACHE is set and does not have it."""
    cached = shared("models", name)
    if cached is None or cached.is_dir():
        return
    cached.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cached.parent, prefix=".") as scratch:
        copy = Path(scratch) / name
        shutil.copytree(out, copy)
        try:
            copy.rename(cached)
        except OSError:  # another run has just stored the same
            if not cached.is_dir():
                raise
