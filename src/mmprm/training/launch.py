"""Runs a training in this process, or its loop in several under torchrun. In: a TrainJob. Out: its TrainResult."""

import json
import os
import pickle
import secrets
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from mmprm.data import tables
from mmprm.model import folders
from mmprm.runtime import disk, locks, loopback, parent_death
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import write_line
from mmprm.training import loop, nodes
from mmprm.training.job import TrainJob

MEETING = "MMPRM_MEETING"  # in the environment of processes of one machine: the file through which they find each other


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
    if folders.device() == "cpu":
        environment["DS_ACCELERATOR"] = "cpu"
    worker = ["mmprm.training.launch", str(job_file), str(out), str(result_file)]
    allocation = nodes.allocation(environment)
    # mkdtemp's folder is closed to other users.
    with tempfile.TemporaryDirectory(prefix="mmprm-meeting-", ignore_cleanup_errors=True) as meeting:
        if allocation:
            environment = nodes.for_srun(environment) | nodes.rendezvous(allocation)
            # srun ends its tasks when it is terminated, not when it is killed; torchrun is killed like this process.
            command = parent_death.to_me(nodes.command(allocation, processes, worker), signal.SIGTERM)
        else:
            loopback.stay_here(environment)
            # And torchrun opens no TCP store for the workers.
            environment |= {MEETING: f"{meeting}/workers", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
            command = parent_death.to_me([sys.executable, "-m", *_torchrun(processes, meeting), "-m", *worker])
        status = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False).returncode
    if allocation and not status:
        nodes.wait_for(result_file)
    if status or not result_file.is_file():
        where = f" on the nodes {', '.join(allocation.hosts)}" if allocation else ""
        todo = "see the messages above. Run again to resume from the last checkpoint"
        raise UserError(f"{job.title}: training under torchrun{where} ended with status {status}; {todo}")
    job_file.unlink()
    return loop.TrainResult(**json.loads(result_file.read_text(encoding="utf-8")))


def _torchrun(processes: int, meeting: str) -> list[str]:
    """Return torchrun for this machine alone. It meets itself in a file: its TCP store would listen to everybody."""
    store = ["--rdzv-backend=c10d", f"--rdzv-endpoint={meeting}/torchrun", "--rdzv-conf=store_type=file"]
    name = ["--rdzv-id", secrets.token_hex(16), "--local-addr=localhost"]
    return ["torch.distributed.run", "--nnodes=1", f"--nproc-per-node={processes}", *store, *name]


def _meet(file: str) -> None:
    """Open torch's process group through a file: by default the first process opens a TCP store to everybody."""
    import torch

    rank, size = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE"))
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    store = torch.distributed.FileStore(file, size)
    torch.distributed.init_process_group(backend, store=store, rank=rank, world_size=size)


def main() -> int:
    """Run one process of torchrun: `python -m mmprm.training.launch JOB OUT RESULT`."""
    job_file, out, result_file = (Path(argument) for argument in sys.argv[1:])
    job: TrainJob = pickle.loads(job_file.read_bytes())  # written by `fit` of this run
    if MEETING in os.environ:
        _meet(os.environ[MEETING])
    try:
        with disk.explained():
            result = loop.fit(job, out)
    except UserError as error:
        write_line(str(error))
        return 1
    if int(os.environ.get("RANK", "0")) == 0:
        tables.write_json(result_file, asdict(result))
    return 0


if __name__ == "__main__":
    # torchrun starts its workers in sessions of their own: they outlive a SIGKILL of its process group, and would keep
    # writing checkpoints into the folder from which the next run resumes.
    parent_death.tie_to_command()
    sys.exit(main())
