"""Jobs that tests run under DeepSpeed, in processes of their own, and what became of them."""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

from waiting import wait_for

from mmprm.model import folders
from mmprm.training import loop
from mmprm.training.batches import PaddedCollator
from mmprm.training.examples import IGNORE
from mmprm.training.job import TrainJob
from mmprm.training.losses import token_loss

LAUNCH = "import pickle, sys; from pathlib import Path; from mmprm.training import launch; "
LAUNCH += "launch.fit(pickle.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]))"


def losses(outcome: loop.TrainResult) -> list[float]:
    return [row["loss"] for row in outcome.history]


def furthest(folder: Path, other: Path) -> float:
    """How far the weights of two models that were saved are apart, at most; the models must have the same tensors."""
    weights, others = (folders.load_model(path).state_dict() for path in (folder, other))
    assert weights.keys() == others.keys()
    assert all(weight.shape == others[name].shape for name, weight in weights.items())
    return max(float((weight - others[name]).abs().max()) for name, weight in weights.items())


def held_out_loss(job: TrainJob) -> float:
    """The mean loss over the labels of job.held_out of the model that the job would start from."""
    import torch

    model, processor = folders.load_model(job.start), folders.load_processor(job.start)
    total, n = 0.0, 0
    with torch.no_grad():
        for item in job.held_out_batches():
            batch = PaddedCollator(processor, shift=1)([item])
            batch.pop("examples")
            labels = batch.pop("labels")
            n += int((labels != IGNORE).sum())
            total += float(token_loss(model(**batch), labels, num_items_in_batch=1))
    return total / n


def processes_of(description: Path) -> list[int]:
    """The processes that name this file on their command line: torchrun and its workers."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:  # it ended since it was listed
            continue
        if os.fsencode(description) in words:
            found.append(int(entry.parent.name))
    return found


def kill_after_a_checkpoint(job: TrainJob, model: Path, processes: int) -> None:
    """Run a job with so many processes, and kill the launcher, and that alone, once a checkpoint is whole."""
    description = model.with_suffix(".pickle")
    description.write_bytes(pickle.dumps(job))
    command = [sys.executable, "-c", LAUNCH, str(description), str(model)]
    launcher = subprocess.Popen(command, env={**os.environ, "MMPRM_PROCESSES": str(processes)})
    passed_on = job.work / "job.pickle"
    try:
        whole = functools.partial(job.work.glob, "checkpoints/checkpoint-*/complete.json")
        wait_for(lambda: any(whole()), "a whole checkpoint", launcher)
        assert len(processes_of(passed_on)) == 1 + processes
        os.kill(launcher.pid, signal.SIGKILL)
        launcher.wait()
        # The signal reaches neither torchrun nor its workers. One that lived on would write into the folder of
        # checkpoints together with the run that comes after it.
        wait_for(lambda: not processes_of(passed_on), "the end of torchrun and its workers")
    finally:
        launcher.kill()
        for process in processes_of(passed_on):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
