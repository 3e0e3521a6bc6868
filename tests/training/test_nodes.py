"""How a training finds the nodes of its allocation, and the command that starts it there. tests/slurm runs it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mmprm.runtime.errors import UserError
from mmprm.training import nodes

WORKER = ["mmprm.training.launch", "job.pickle", "out", "outcome.json"]
TWO = nodes.Allocation("17", ("a1", "a2"), "10.0.0.1", "8")


@pytest.fixture
def slurm_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts SLURM's commands on the PATH, which answer as given; one without an answer fails."""

    def say(**answers: str) -> None:
        for name in ("squeue", "scontrol", "sinfo"):
            script = tmp_path / name
            answer = f"echo '{answers[name]}'" if name in answers else "echo 'Invalid job id specified' >&2; exit 1"
            script.write_text(f"#!/bin/sh\n{answer}\n")
            script.chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return say


def test_without_an_allocation_there_is_one_machine(slurm_says) -> None:
    slurm_says(squeue="a[1-2]", scontrol="a1\na2", sinfo="10.0.0.1")
    assert nodes.allocation({}) is None


def test_an_allocation_of_one_node_is_one_machine(slurm_says) -> None:
    slurm_says(squeue="a1", scontrol="a1")
    assert nodes.allocation({"SLURM_JOB_ID": "17"}) is None


def test_a_step_of_one_node_sees_all_that_the_job_has(slurm_says) -> None:
    """Snakemake's jobs are such steps."""
    slurm_says(squeue="a[1-2]", scontrol="a1\na2", sinfo="10.0.0.1")
    environment = {"SLURM_JOB_ID": "17", "SLURM_JOB_NODELIST": "a1", "SLURM_CPUS_PER_TASK": "8"}
    assert nodes.allocation(environment) == TWO


def test_a_job_that_has_ended_is_said_to_be_unknown(slurm_says) -> None:
    slurm_says()
    with pytest.raises(UserError, match=r"SLURM_JOB_ID is 17, but `squeue .*Invalid job id specified. Outside of that"):
        nodes.allocation({"SLURM_JOB_ID": "17"})


def test_srun_starts_one_torchrun_a_node() -> None:
    words = nodes.command(TWO, 4, WORKER)
    torchrun = words.index("mmprm.training.nodes")
    assert words[0] == "srun" and words[-len(WORKER) - 1 :] == ["-m", *WORKER]
    srun, torchrun = words[1:torchrun], words[torchrun:]
    assert {"--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--kill-on-bad-exit=1", "--cpus-per-task=8"} <= set(srun)
    assert {"--nnodes=2", "--nproc-per-node=4", "--rdzv-backend=c10d"} <= set(torchrun)


def test_trainings_over_nodes_meet_where_nobody_can_guess_and_no_command_line_says() -> None:
    first, second = nodes.rendezvous(TWO), nodes.rendezvous(TWO)
    assert first["PET_RDZV_ID"] != second["PET_RDZV_ID"] and len(first["PET_RDZV_ID"]) == 32
    host, _, port = first["PET_RDZV_ENDPOINT"].rpartition(":")
    assert host == "10.0.0.1" and 20000 <= int(port) < 30000
    assert not any("rdzv-id" in word or "rdzv-endpoint" in word for word in nodes.command(TWO, 4, WORKER))


def test_torchrun_reads_where_to_meet_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.distributed.run import get_args_parser

    for name, value in nodes.rendezvous(TWO).items():
        monkeypatch.setenv(name, value)
    arguments = get_args_parser().parse_args(["--nnodes=2", "-m", *WORKER])
    assert arguments.rdzv_id == os.environ["PET_RDZV_ID"]
    assert arguments.rdzv_endpoint == os.environ["PET_RDZV_ENDPOINT"]


def test_srun_is_not_told_of_the_step_that_it_starts_in() -> None:
    inherited = {"SLURM_JOB_ID": "17", "SLURM_CONF": "conf", "SLURM_NTASKS": "1", "SLURM_NNODES": "1", "HOME": "/root"}
    assert nodes.for_srun(inherited) == {"SLURM_JOB_ID": "17", "SLURM_CONF": "conf", "HOME": "/root"}
