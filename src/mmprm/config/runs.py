"""Runs as people name them. In: a name or a folder. Out: results/<run>, and its configuration."""

from pathlib import Path

from mmprm.config import Config, read
from mmprm.runtime.errors import UserError


def find_run(name: str) -> Path:
    """Return the folder of a run that is given as `mini`, `results/mini` or any path to it.

    Raises UserError where there is no such run.
    """
    folder = Path(name) if "/" in name or Path(name, "config.json").is_file() else Path("results") / name
    if not (folder / "config.json").is_file():
        runs = sorted(path.parent.name for path in Path("results").glob("*/config.json"))
        here = f"here are {', '.join(runs)}" if runs else "here is none below results/"
        raise UserError(f"{name}: not a run (there is no {folder}/config.json); {here}")
    return folder


def open_run(name: str) -> tuple[Config, Path]:
    """Return the configuration and the folder of a run, which is named as for `find_run`; it raises the same."""
    folder = find_run(name)
    return read(folder / "config.json"), folder
