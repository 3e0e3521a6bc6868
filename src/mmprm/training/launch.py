"""Runs a training job in this process, or in several under torchrun with DeepSpeed. In: a Job. Out: its Outcome.

Only the loop runs under torchrun. What comes before and after it (data, cards, manifest) stays in one process.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from mmprm import tables
from mmprm.errors import UserError
from mmprm.training import loop, tied
from mmprm.training.job import Job


def fit(job: Job, out: Path) -> loop.Outcome:
    """`loop.fit`, under torchrun where the job asks for DeepSpeed: one process a visible GPU.

    Without a GPU, MMPRM_PROCESSES processes (default 1) train on the CPU.
    """
    out.mkdir(parents=True, exist_ok=True)
    if not job.training.deepspeed:
        return loop.fit(job, out)
    import torch

    processes = torch.cuda.device_count() or int(os.environ.get("MMPRM_PROCESSES", "1"))
    job.work.mkdir(parents=True, exist_ok=True)
    description, answer = job.work / "job.pickle", job.work / "outcome.json"
    answer.unlink(missing_ok=True)
    with tables.replacing(description) as temporary:
        temporary.write_bytes(pickle.dumps(job))
    environment = dict(os.environ)
    if not torch.cuda.is_available():
        environment["DS_ACCELERATOR"] = "cpu"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command += ["-m", "mmprm.training.launch", str(description), str(out), str(answer)]
    status = subprocess.run(tied.to_me(command), env=environment, check=False).returncode
    if status or not answer.is_file():
        raise UserError(f"{job.title}: training under torchrun ended with status {status}; its messages stand above")
    description.unlink()
    return loop.Outcome(**json.loads(answer.read_text()))


def main() -> int:
    """What each process of torchrun runs: `python -m mmprm.training.launch JOB OUT ANSWER`."""
    description, out, answer = (Path(argument) for argument in sys.argv[1:])
    job: Job = pickle.loads(description.read_bytes())  # written by `fit` a moment ago
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
    tied.tie_to_command()
    sys.exit(main())
