"""Runs a training job in this process, or in many under torchrun with DeepSpeed. In: a Job. Out: its Outcome.

Only the loop runs under torchrun. What comes before and after it (data, cards, manifest) stays in one process.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from mmprm.data import tables
from mmprm.runtime import locks, parent_death
from mmprm.runtime.errors import UserError
from mmprm.training import loop, nodes
from mmprm.training.job import TrainJob


def fit(job: TrainJob, out: Path) -> loop.TrainResult:
    """`loop.fit`, under torchrun where the job asks for DeepSpeed: one process a visible GPU.

    In a SLURM allocation of several nodes all of them take part; job.work, `out` and the models must be in folders that
    they share. Without a GPU, MMPRM_PROCESSES processes (default 1) a node train on the CPU. Where another process is
    at the same training, it waits for its end. Raises UserError where torchrun fails.
    """
    out.mkdir(parents=True, exist_ok=True)
    with locks.single_writer(job.work, "training"):
        return _under_torchrun(job, out) if job.training.deepspeed else loop.fit(job, out)


def _under_torchrun(job: TrainJob, out: Path) -> loop.TrainResult:
    import torch

    processes = torch.cuda.device_count() or int(os.environ.get("MMPRM_PROCESSES", "1"))
    description, answer = job.work / "job.pickle", job.work / "outcome.json"
    answer.unlink(missing_ok=True)
    with tables.replacing(description) as temporary:
        temporary.write_bytes(pickle.dumps(job))
    environment = dict(os.environ)
    if not torch.cuda.is_available():
        environment["DS_ACCELERATOR"] = "cpu"
    worker = ["mmprm.training.launch", str(description), str(out), str(answer)]
    where = nodes.allocation(environment)
    if where:
        environment = nodes.for_srun(environment)
        # srun's tasks end when it is told to, not when it is killed; torchrun is killed like this process.
        command = parent_death.to_me(nodes.command(where, processes, job.work, worker), signal.SIGTERM)
    else:
        torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command = parent_death.to_me([sys.executable, "-m", *torchrun, "-m", *worker])
    status = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False).returncode
    if where and not status:
        nodes.wait_for(answer)
    if status or not answer.is_file():
        on = f" on the nodes {', '.join(where.hosts)}" if where else ""
        raise UserError(
            f"{job.title}: training under torchrun{on} ended with status {status}; its messages stand above. Run "
            "again, it goes on from its last checkpoint"
        )
    description.unlink()
    return loop.TrainResult(**json.loads(answer.read_text()))


def main() -> int:
    """What each process of torchrun runs: `python -m mmprm.training.launch JOB OUT ANSWER`."""
    description, out, answer = (Path(argument) for argument in sys.argv[1:])
    job: TrainJob = pickle.loads(description.read_bytes())  # written by `fit` a moment ago
    try:
        outcome = loop.fit(job, out)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    if int(os.environ.get("RANK", "0")) == 0:
        tables.write_json(answer, asdict(outcome))
    return 0


if __name__ == "__main__":
    # torchrun gives its workers sessions of their own: they outlive a SIGKILL of its process group, and would go on
    # writing checkpoints into the folder from which the next run resumes.
    parent_death.tie_to_command()
    sys.exit(main())
