"""A run in another folder than the checkout's, or of a user without a name. In: the checkout. Out: what it lends.

`snakemake --directory FOLDER`: nothing is written into the checkout, which may be one that can only be read.
"""

import getpass
import os
from pathlib import Path

from mmprm.runtime import disk
from mmprm.runtime.log import log

_DEFAULT = "workflow_config.yaml"


def default_config(checkout: str) -> str:
    """Return the configuration of a run that names none: that of the working folder, else the checkout's."""
    return _DEFAULT if Path(_DEFAULT).is_file() else str(Path(checkout, _DEFAULT))


def settle_environment() -> None:
    """Name a user whom the machine does not know, and make Python's texts UTF-8, for this process and for all jobs.

    In `docker run --user 12345` there is no name, which Snakemake and torch ask for. In a locale other than UTF-8 torch
    cannot read files of its own.
    """
    os.environ["PYTHONUTF8"] = "1"
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = f"user{os.getuid()}"


@disk.explained()
def lend_model(base: Path, checkout: Path) -> None:
    """Link a model folder of the checkout, such as models/mini-base, to where the working folder lacks it.

    Not by another path in the configuration, which would be another setting and train the policy again.
    """
    kept = checkout / base
    if base.is_absolute() or base.exists() or not (kept / "config.json").is_file():
        return
    base.parent.mkdir(parents=True, exist_ok=True)
    if base.is_symlink():  # to a checkout that has moved
        base.unlink()
    base.symlink_to(kept, target_is_directory=True)
    log.info(f"{base}: linked to {kept}")
