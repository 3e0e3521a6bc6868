"""What of a run can go when it is finished: checkpoints, journals, parts, logs. In: results/<run>. Out: sizes.

Its tables, models, pages and manifests are never removed.
"""

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from mmprm.runtime.errors import UserError
from mmprm.runtime.locks import try_flock

# What it is, what is lost with it, and where it lies below results/<run>.
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "checkpoints": ("a training that is not finished would begin again", ("work/policy", "work/prm")),
    "journals": (
        "what was sampled: a changed search, grading or label rule would sample again",
        ("work/seeds", "work/annotation", "work/bench", "work/guided", "work/tagging", "work/consensus"),
    ),
    "parts": (
        "rows that were checked: an intake or curation that is not finished would begin again",
        ("work/intake", "work/curation"),
    ),
    "logs": ("logs and benchmarks of the jobs", ("logs", "benchmarks")),
}


def sizes(run: Path) -> dict[str, int]:
    """Return the bytes of each kind; UserError where the folder is no run."""
    if not (run / "config.json").is_file():
        raise UserError(f"{run}: not a run (there is no config.json); give the name of one, such as mini")
    return {kind: sum(map(_bytes, _folders(run, kind))) for kind in KINDS}


def remove(run: Path, kinds: Collection[str]) -> int:
    """Remove these kinds; returns the bytes. UserError for an unknown kind, and while a run lives in the folder."""
    for kind in kinds:
        if kind not in KINDS:
            raise UserError(f"--remove {kind}: there is no such kind; allowed: {', '.join(KINDS)}")
    freed = sizes(run)
    with (run / ".in-use").open("a+", encoding="utf-8") as mark:
        try:
            free = try_flock(mark)
        except OSError:  # no locks here: nobody can tell
            free = True
        if not free:
            raise UserError(f"{run}: a run is working on it; wait for its end")
        for kind in kinds:
            for folder in _folders(run, kind):
                shutil.rmtree(folder)
    return sum(freed[kind] for kind in set(kinds))


def _folders(run: Path, kind: str) -> Iterator[Path]:
    """Yield the folders of a kind that are there. A link is left alone: what it names may be another run's."""
    for name in KINDS[kind][1]:
        if (folder := run / name).is_dir() and not any(part.is_symlink() for part in (folder, folder.parent, run)):
            yield folder


def _bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
