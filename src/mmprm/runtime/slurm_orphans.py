"""SLURM jobs of a run whose Snakemake was killed. In: the run's folder. Out: they are cancelled, and have ended.

Snakemake does not know the jobs of an earlier run again: it would submit each of them a second time, beside the first.
"""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

from mmprm.runtime.errors import UserError

# The executor names every job of a run by a UUID, after a prefix of the profile's.
_NAME = re.compile(r"(?:[A-Za-z0-9_-]+_)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PATIENCE = 300  # seconds; a job has KillWait (30 s by default) between SIGTERM and SIGKILL, and may be checked late


def cancel(folder: Path) -> list[str]:
    """Cancel what Snakemake has submitted from this folder, and wait for its end; returns the numbers of these jobs.

    For a folder in which no Snakemake is alive. Raises UserError where SLURM does not answer, or a job does not end.
    """
    found = _living(folder)
    if found:
        _slurm("scancel", *found)
    end = time.monotonic() + _PATIENCE
    while left := _living(folder):
        if time.monotonic() > end:
            raise UserError(
                f"the SLURM jobs {', '.join(left)} of an earlier run in {folder} were cancelled, and have not ended in "
                f"{_PATIENCE} seconds; see `squeue --jobs={','.join(left)}`, and start again when they are gone"
            )
        time.sleep(1)
    return found


def _living(folder: Path) -> list[str]:
    """The numbers of the jobs that Snakemake submitted from this folder and that have not ended."""
    lines = _slurm("squeue", "--me", "--noheader", "--format=%i|%j|%Z").splitlines()
    jobs = [line.split("|", 2) for line in lines]
    return [number for number, name, place in jobs if _NAME.fullmatch(name) and Path(place).resolve() == folder]


def _slurm(*command: str) -> str:
    try:
        done = subprocess.run(command, text=True, capture_output=True, check=False, timeout=120)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise UserError(f"`{' '.join(command)}`: {error}; --profile slurm needs SLURM's commands") from None
    if done.returncode:
        raise UserError(f"`{' '.join(command)}` failed: {done.stderr.strip()}; is SLURM up?")
    return done.stdout
