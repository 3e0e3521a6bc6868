"""Runs a training in this process, or its loop in several under torchrun. In: a TrainJob. Out: its TrainResult."""

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
    """Run `loop.fit`, under torchrun if the job uses DeepSpeed: one process per visible GPU.

    In a SLURM allocation all nodes take part; they must share the folders of job.work, `out` and the models. Without a
    GPU, MMPRM_PROCESSES processes (default 1) per node train on the CPU. If another process runs the same training,
    waits for its end. Raises UserError if torchrun fails.
    """
    out.mkdir(parents=True, exist_ok=True)
    with locks.single_writer(job.work, "training"):
        return _under_torchrun(job, out) if job.training.deepspeed else loop.fit(job, out)


def _under_torchrun(job: TrainJob, out: Path) -> loop.TrainResult:
    import torch

    processes = torch.cuda.device_count() or int(os.environ.get("MMPRM_PROCESSES", "1"))
    job_file, result_file = job.work / "job.pickle", job.work / "outcome.json"
    result_file.unlink(missing_ok=True)
    with tables.replacing(job_file) as temporary:
        temporary.write_bytes(pickle.dumps(job))
    environment = dict(os.environ)
    if not torch.cuda.is_available():
        environment["DS_ACCELERATOR"] = "cpu"
    worker = ["mmprm.training.launch", str(job_file), str(out), str(result_file)]
    allocation = nodes.allocation(environment)
    if allocation:
        environment = nodes.for_srun(environment)
        # srun ends its tasks when it is terminated, not when it is killed; torchrun is killed like this process.
        command = parent_death.to_me(nodes.command(allocation, processes, job.work, worker), signal.SIGTERM)
    else:
        torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command = parent_death.to_me([sys.executable, "-m", *torchrun, "-m", *worker])
    status = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False).returncode
    if allocation and not status:
        nodes.wait_for(result_file)
    if status or not result_file.is_file():
        where = f" on the nodes {', '.join(allocation.hosts)}" if allocation else ""
        todo = "see the messages above. Run again to resume from the last checkpoint"
        raise UserError(f"{job.title}: training under torchrun{where} ended with status {status}; {todo}")
    job_file.unlink()
    return loop.TrainResult(**json.loads(result_file.read_text()))


def main() -> int:
    """Run one process of torchrun: `python -m mmprm.training.launch JOB OUT RESULT`."""
    job_file, out, result_file = (Path(argument) for argument in sys.argv[1:])
    job: TrainJob = pickle.loads(job_file.read_bytes())  # written by `fit` of this run
    try:
        result = loop.fit(job, out)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    if int(os.environ.get("RANK", "0")) == 0:
        tables.write_json(result_file, asdict(result))
    return 0


if __name__ == "__main__":
    # torchrun starts its workers in sessions of their own: they outlive a SIGKILL of its process group, and would keep
    # writing checkpoints into the folder from which the next run resumes.
    parent_death.tie_to_command()
    sys.exit(main())
