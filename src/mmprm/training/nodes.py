"""A training on every node of the SLURM allocation that it runs in. In: the environment. Out: srun's command.

Only a rule's resources decide how many nodes there are (slurm/config.yaml). Run as a module, this becomes torchrun.
"""

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmprm.runtime import parent_death
from mmprm.runtime.errors import UserError

_SLURM = ("SLURM_", "SRUN_", "SBATCH_")
_KEPT = ("SLURM_CONF", "SLURM_JOB_ID", "SLURM_JOBID", "SLURM_CLUSTER_NAME")


@dataclass(frozen=True)
class Allocation:
    """A SLURM job of several nodes. `address` is that of the first; `cpus`: how many of a node's the job may use."""

    job: str
    hosts: tuple[str, ...]
    address: str
    cpus: str | None


def allocation(environment: Mapping[str, str]) -> Allocation | None:
    """Return the allocation that this process runs in if it has several nodes, else None.

    Asks SLURM rather than SLURM_JOB_NODELIST: in a step on only one of the nodes, such as a Snakemake job, the variable
    names that one alone. Raises UserError if SLURM gives no answer.
    """
    job = environment.get("SLURM_JOB_ID")
    if not job or shutil.which("squeue") is None:
        return None
    nodes = _ask(job, "squeue", "--noheader", f"--jobs={job}", "--format=%N")
    hosts = tuple(_ask(job, "scontrol", "show", "hostnames", nodes).split())
    if len(hosts) < 2:
        return None
    address = _ask(job, "sinfo", "--noheader", f"--nodes={hosts[0]}", "--format=%o").split()[0]
    cpus = environment.get("SLURM_CPUS_PER_TASK") or environment.get("SLURM_CPUS_ON_NODE")
    return Allocation(job, hosts, address, cpus)


def _ask(job: str, *command: str) -> str:
    done = subprocess.run(command, encoding="utf-8", errors="replace", capture_output=True, check=False)
    if done.returncode or not done.stdout.strip():
        raise UserError(
            f"SLURM_JOB_ID is {job}, but `{' '.join(command)}` does not know its nodes: {done.stderr.strip()}. Outside "
            "of that job, unset SLURM_JOB_ID"
        )
    return done.stdout.strip()


def rendezvous(where: Allocation) -> dict[str, str]:
    """Return torchrun's variables of a meeting at the first node: a port and a name that nobody can guess.

    Whoever knows the name may have the store unpickle what he likes, and command lines are seen by all of a node's
    users: environments are not. Two trainings of an allocation meet apart.
    """
    port = 20000 + secrets.randbelow(10000)
    return {"PET_RDZV_ENDPOINT": f"{where.address}:{port}", "PET_RDZV_ID": secrets.token_hex(16)}


def command(where: Allocation, processes: int, worker: Sequence[str]) -> list[str]:
    """Return srun's command for a torchrun on each node, each of `processes` processes of `python -m WORKER...`.

    They meet where the variables of `rendezvous` say, which srun hands on.
    """
    n = len(where.hosts)
    srun = ["srun", f"--nodes={n}", f"--ntasks={n}", "--ntasks-per-node=1", "--kill-on-bad-exit=1", "--cpu-bind=none"]
    # Inside a step of the job, everything that the step holds is shared with it; memory 0 is all of the job's.
    srun += ["--overlap", "--mem=0", "--export=ALL", *([f"--cpus-per-task={where.cpus}"] if where.cpus else [])]
    torchrun = [f"--nnodes={n}", f"--nproc-per-node={processes}", "--rdzv-backend=c10d"]
    return [*srun, sys.executable, "-m", "mmprm.training.nodes", *torchrun, "-m", *worker]


def for_srun(environment: Mapping[str, str]) -> dict[str, str]:
    """Remove an outer step's variables about its own tasks, which srun would take for options."""
    return {name: value for name, value in environment.items() if name in _KEPT or not name.startswith(_SLURM)}


def wait_for(file: Path, seconds: float = 60) -> None:
    """Wait until a file that another node has written is visible here: a shared folder may lag behind."""
    end = time.monotonic() + seconds
    while file not in file.parent.iterdir() and time.monotonic() < end:
        time.sleep(0.5)


def main() -> None:
    """Become the torchrun of this node. The first node of the step hosts the rendezvous."""
    is_host = int(os.environ["SLURM_NODEID"] == "0")  # explicit, since a node may not know its own address
    conf = f"--rdzv-conf=is_host={is_host},read_timeout=300"
    parent_death.become([sys.executable, "-m", "torch.distributed.run", conf, *sys.argv[1:]])


if __name__ == "__main__":
    main()
