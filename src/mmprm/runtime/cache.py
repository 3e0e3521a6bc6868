"""The cache that runs share if MMPRM_CACHE names a folder: by content, not by run. In: environment. Out: folders."""

import os
from pathlib import Path

CACHE = "MMPRM_CACHE"


def shared(*parts: str) -> Path | None:
    """Return a folder of the cache; None if there is no cache."""
    folder = os.environ.get(CACHE)
    return Path(folder, *parts) if folder else None
