"""A policy trained over two nodes of a real SLURM, as Snakemake's jobs are: to its end, cancelled, and killed."""

from __future__ import annotations

import functools
import json
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cluster
import pytest
from waiting import wait_for

from mmprm.config import Training
from mmprm.data.problem import Problem
from mmprm.model import folders
from mmprm.model.step_text import Renderer
from mmprm.training import loop, policy_examples
from mmprm.training.job import TrainJob

# As Snakemake's executor does it: a step of one task, which is not told the variables of the allocation.
SCRIPT = """\
#!/bin/bash
for name in $(compgen -e SLURM_); do
  case $name in SLURM_JOB_ID|SLURM_CONF) ;; *) unset $name ;; esac
done
exec srun -n1 --nodes=2 --cpus-per-task=2 {python} -c '
import json, pickle, sys
from dataclasses import asdict
from pathlib import Path
from mmprm.training import launch
outcome = launch.fit(pickle.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]))
Path(sys.argv[3]).write_text(json.dumps(asdict(outcome)))
' {files}
"""


@pytest.fixture(scope="module")
def make_job(mini_policy_folder: Path, mini_problems: list[Problem]) -> Callable[..., TrainJob]:
    """Makes the training of this module, on one machine or under DeepSpeed."""
    processor = folders.load_processor(mini_policy_folder)
    examples, _ = policy_examples.supervised_examples(mini_problems, processor, Renderer(processor), 512)
    settings = Training(learning_rate=2e-3, batch_size=6, micro_batch_size=3, precision="fp32", save_every=1, epochs=2)

    def make(work: Path, deepspeed: str | None) -> TrainJob:
        training = settings.model_copy(update={"deepspeed": deepspeed})
        return TrainJob("policy", mini_policy_folder, examples, "tokens", training, 0, work)

    return make


@pytest.fixture
def submit(slurm: Path, tmp_path: Path) -> Iterator[Callable[[TrainJob], str]]:
    """Submits a training to two nodes, and returns the number of its SLURM job; what is left is cancelled."""
    numbers = []

    def run(job: TrainJob) -> str:
        (tmp_path / "job").write_bytes(pickle.dumps(job))
        files = " ".join(str(tmp_path / name) for name in ("job", "model", "outcome"))
        (tmp_path / "outcome").unlink(missing_ok=True)
        script = tmp_path / "script"
        script.write_text(SCRIPT.format(python=sys.executable, files=files))
        words = ["sbatch", "--parsable", f"--output={tmp_path}/log-%j", "--nodes=2", "--ntasks=2", "--cpus-per-task=2"]
        words += ["--mem=4000", "--gpus-per-node=2", str(script)]
        numbers.append(cluster.command(slurm, *words))
        return numbers[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("MMPRM_PROCESSES", "1")
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        yield run
    for number in numbers:
        cluster.command(slurm, "scancel", "--full", number)
        wait_for(functools.partial(_ended, slurm, number), "the end of the cancelled job", pause=0.1)


def _ended(slurm: Path, number: str) -> bool:
    return not cluster.command(slurm, "squeue", "--noheader", f"--jobs={number}", "--states=PD,R,CG")


def _outcome(slurm: Path, tmp_path: Path, number: str) -> loop.TrainResult:
    wait_for(lambda: _ended(slurm, number), "the end of the job", pause=0.1)
    file = tmp_path / "outcome"
    assert file.is_file(), (tmp_path / f"log-{number}").read_text()
    return loop.TrainResult(**json.loads(file.read_text()))


def _losses(outcome: loop.TrainResult) -> list[float]:
    return [row["loss"] for row in outcome.history]


def _whole(job: TrainJob) -> bool:
    return any(job.work.glob("checkpoints/checkpoint-*/complete.json"))


def _running(work: Path, module: bytes) -> dict[int, str]:
    """The processes of this training that run the module, torchrun's or a worker's, each with its node."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            variables = (process / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        node = [pair.removeprefix(b"SLURMD_NODENAME=") for pair in variables if pair.startswith(b"SLURMD_NODENAME=")]
        # python -m MODULE: what follows the first -m; others name the module among their arguments.
        if os.fsencode(work / "job.pickle") in words and node and words[words.index(b"-m") + 1] == module:
            found[int(process.name)] = os.fsdecode(node[0])
    return found


def _nodes_used(work: Path) -> list[str]:
    """The nodes on which a worker of this training runs."""
    return sorted(set(_running(work, b"mmprm.training.launch").values()))


@pytest.mark.slow
@pytest.mark.heavy
def test_two_nodes_learn_what_one_process_learns_cancelled_or_not(
    slurm: Path, submit: Callable[[TrainJob], str], make_job: Callable, tmp_path: Path
) -> None:
    job = make_job(tmp_path / "work", "zero2")
    first = submit(job)
    wait_for(lambda: _whole(job) or _ended(slurm, first), "a whole checkpoint", pause=0.1)
    used = _nodes_used(job.work)
    cluster.command(slurm, "scancel", first)
    assert used == ["n1", "n2"], (tmp_path / f"log-{first}").read_text()
    wait_for(lambda: _ended(slurm, first), "the end of the cancelled job", pause=0.1)
    wait_for(lambda: not _nodes_used(job.work), "the end of its workers", pause=0.1)
    assert not (tmp_path / "outcome").exists()

    outcome = _outcome(slurm, tmp_path, submit(job))
    alone = loop.fit(make_job(tmp_path / "alone", None), tmp_path / "alone-model")
    assert 0 < outcome.resumed_from < outcome.steps == 4
    assert _losses(outcome) == pytest.approx(_losses(alone), rel=1e-4)


@pytest.mark.slow
@pytest.mark.heavy
def test_a_node_that_fails_ends_the_training_with_a_message(
    slurm: Path, submit: Callable[[TrainJob], str], make_job: Callable, tmp_path: Path
) -> None:
    job = make_job(tmp_path / "work", "zero2")
    number = submit(job)
    wait_for(lambda: len(_nodes_used(job.work)) == 2 or _ended(slurm, number), "workers on both nodes", pause=0.1)
    torchrun = [process for process, node in _running(job.work, b"torch.distributed.run").items() if node == "n2"]
    assert len(torchrun) == 1, (tmp_path / f"log-{number}").read_text()
    os.kill(torchrun[0], signal.SIGKILL)
    wait_for(lambda: _ended(slurm, number), "the end of the job", pause=0.1)
    wait_for(lambda: not _nodes_used(job.work), "the end of its workers", pause=0.1)
    said = (tmp_path / f"log-{number}").read_text()
    assert "policy: training under torchrun on the nodes n1, n2 ended with status" in said, said
