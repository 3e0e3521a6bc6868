"""Names of runs as people give them. In: a name or a folder. Out: results/<run>, and its configuration."""

import hashlib
import re
from pathlib import Path

from mmprm.config import Config, read
from mmprm.runtime.errors import UserError


def open_run(name: str) -> tuple[Config, Path]:
    """Return the configuration and the folder of a run that is given as `mini`, `results/mini` or any path to it.

    Raises UserError where there is no such run.
    """
    folder = Path(name) if "/" in name or Path(name, "config.json").is_file() else Path("results") / name
    if not (folder / "config.json").is_file():
        runs = sorted(path.parent.name for path in Path("results").glob("*/config.json"))
        here = f"here are {', '.join(runs)}" if runs else "here is none below results/"
        raise UserError(f"{name}: not a run (there is no {folder}/config.json); {here}")
    return read(folder / "config.json"), folder


def file_name(problem_id: str) -> str:
    """Return a name of a file for a problem: its id, or where a file cannot be called so a part of it and a hash."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", problem_id)[:80].strip(".-")
    if plain == problem_id:
        return plain
    return f"{plain or 'problem'}-{hashlib.sha256(problem_id.encode(errors='surrogatepass')).hexdigest()[:8]}"
