"""The cache that runs share if MMPRM_CACHE names a folder: by content, not by run. In: environment. Out: folders."""

import os
import stat
from pathlib import Path

CACHE = "MMPRM_CACHE"


def shared(*parts: str) -> Path | None:
    """Return a folder of the cache; None if there is no cache."""
    folder = os.environ.get(CACHE)
    return Path(folder, *parts) if folder else None


def make_folder(folder: Path) -> Path:
    """Make a folder of the cache, as open as MMPRM_CACHE itself: who may add there may add beside what others added.

    With it those between the two. Files in them are as open as the user's umask says.
    """
    root = Path(os.environ[CACHE])
    root.mkdir(parents=True, exist_ok=True)
    for path in reversed([folder, *folder.parents]):
        if path.is_relative_to(root) and not path.is_dir():
            path.mkdir(exist_ok=True)  # another run may be faster
            path.chmod(stat.S_IMODE(root.stat().st_mode))
    return folder
