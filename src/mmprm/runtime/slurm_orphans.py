"""SLURM jobs of a run whose Snakemake was killed. In: the folder of the run. Out: they are cancelled, and have ended.

Snakemake does not recognise the jobs of an earlier run: it would submit each of them a second time, beside the first.
"""

import re
import subprocess
import time
from pathlib import Path

from mmprm.runtime.errors import UserError

# The executor names every job of a run by a UUID, after the profile's prefix.
_NAME = re.compile(r"(?:[A-Za-z0-9_-]+_)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PATIENCE = 300  # seconds; a job has KillWait (30 s by default) between SIGTERM and SIGKILL


def cancel(folder: Path) -> list[str]:
    """Cancel the jobs that Snakemake submitted from this folder, wait for their end, and return their numbers.

    For a folder in which no Snakemake is alive. UserError where SLURM does not answer, or a job does not end.
    """
    cancelled = _running(folder)
    if cancelled:
        _slurm("scancel", *cancelled)
    deadline = time.monotonic() + _PATIENCE
    while jobs := _running(folder):
        if time.monotonic() > deadline:
            raise UserError(
                f"the SLURM jobs {', '.join(jobs)} of an earlier run in {folder} were cancelled, and have not ended in "
                f"{_PATIENCE} seconds; see `squeue --jobs={','.join(jobs)}`, and start again when they have"
            )
        time.sleep(1)
    return cancelled


def _running(folder: Path) -> list[str]:
    """List the numbers of the jobs that Snakemake submitted from this folder and that have not ended."""
    lines = _slurm("squeue", "--me", "--noheader", "--format=%i|%j|%Z").splitlines()
    jobs = [line.split("|", 2) for line in lines]
    return [number for number, name, path in jobs if _NAME.fullmatch(name) and Path(path).resolve() == folder]


def _slurm(*command: str) -> str:
    """Return the output of a SLURM command; UserError where it fails."""
    try:
        done = subprocess.run(command, text=True, capture_output=True, check=False, timeout=120)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise UserError(f"`{' '.join(command)}`: {error}; --profile slurm needs SLURM's commands") from None
    if done.returncode:
        raise UserError(f"`{' '.join(command)}` failed: {done.stderr.strip()}; is SLURM up?")
    return done.stdout
