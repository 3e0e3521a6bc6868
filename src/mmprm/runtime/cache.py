"""What runs share where MMPRM_CACHE names a folder: by content, not by a run's name. In: environment. Out: folders."""

from __future__ import annotations

import os
from pathlib import Path

CACHE = "MMPRM_CACHE"


def shared(*parts: str) -> Path | None:
    """A folder of the cache; None where there is no cache."""
    folder = os.environ.get(CACHE)
    return Path(folder, *parts) if folder else None
