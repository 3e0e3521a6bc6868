"""The mini pipeline on a SLURM that lives as long as the demonstration: `make slurm-demo`. Debian or Ubuntu, as root.

Gets SLURM's packages where they are missing, starts a cluster of two nodes on this machine, checks what configs/ci.yaml
needs, runs it on the cluster by the profile (first the plan of all stages, then the rest, then a sealed test with two
trainings of the PRM), shows what SLURM's accounting says, and takes the cluster down, whatever happens.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import cluster

ROOT = Path(__file__).parents[2]
RUN = "slurm-demo"
CONFIG = "configs/ci.yaml"
SEALED = "tests/slurm/demo_sealed.yaml"
# Jobs take seconds here: they are looked at more often than on a cluster where they take hours.
OFTEN = ("--slurm-init-seconds-before-status-checks", "3", "--seconds-between-status-checks", "3")


def main() -> int:
    """Run it; returns Snakemake's exit status, or 1 where the cluster cannot be had."""
    if sys.platform != "linux" or os.getuid() != 0:
        return _refused("SLURM on one host needs root on Linux: its daemons start jobs for users")
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        _say("SLURM's packages")
        cluster.install()
    except (OSError, subprocess.CalledProcessError) as error:
        return _refused(f"SLURM's packages cannot be had: {error}")
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    try:
        _say(f"a cluster of two nodes in {folder}")
        cluster.up(folder)
        print(cluster.command(folder, "sinfo", "--Node", "--format=%N %c CPUs, %m MB, %G: %t", "--partition=test"))
        return _run(folder)
    except FileExistsError:
        return _refused(f"this machine has a SLURM already: {cluster.STANDARD}")
    except KeyboardInterrupt:
        return _refused("stopped")
    finally:
        _say("taking the cluster down")
        cluster.down(folder)
        shutil.rmtree(folder)


def _run(folder: Path) -> int:
    shutil.rmtree(ROOT / "results" / RUN, ignore_errors=True)
    (ROOT / f"logs/{RUN}-ledger.jsonl").unlink(missing_ok=True)
    named = ["--config", f"run={RUN}", *OFTEN]
    snakemake = ["--profile", "slurm", "--configfile", CONFIG, *named]
    for program, arguments in (
        ("mmprm", ["check", CONFIG]),
        ("snakemake", [*snakemake, "--", "plan"]),
        ("snakemake", snakemake),
        ("snakemake", ["--profile", "slurm", "--configfile", CONFIG, SEALED, *named, "--", "sealed"]),
    ):
        _say(f"{program} {' '.join(arguments)}")
        command = [str(Path(sys.executable).with_name(program)), *arguments]
        status = subprocess.run(command, cwd=ROOT, env=cluster.environment(folder), check=False).returncode
        if status:
            break
    _say("what SLURM's accounting says: sacct")
    columns = "JobID,Comment%36,State%10,NodeList%4,AllocCPUS%4,ReqMem%8,MaxRSS%9,Elapsed"
    print(cluster.command(folder, "sacct", f"--format={columns}"))
    if not status:
        _say(f"the report: results/{RUN}/report.html; the sealed test: results/{RUN}/sealed/demo.html")
    return status


def _say(what: str) -> None:
    print(f"slurm-demo: {what}", file=sys.stderr, flush=True)


def _refused(why: str) -> int:
    _say(why)
    return 1


def _as_interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
