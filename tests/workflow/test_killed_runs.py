"""A run that was killed does not keep the next one out; a run that is alive does."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from snake import Workflow, changed
from waiting import wait_for

TARGET = "results/small/problems/ood.parquet"


ENDLESS = changed({"sources.ood.split": "sft", "sources.ood.size": 10_000_000})


@contextmanager
def started(workflow: Workflow) -> Iterator[subprocess.Popen[bytes]]:
    """A run, in a process group of its own, that is drawing more problems than it can in a test's time."""
    command = workflow.command(TARGET, config=ENDLESS)
    run = subprocess.Popen(command, cwd=workflow.folder, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        wait_for((workflow.folder / "results/small/logs/intake/ood.log").exists, "the first job", run)
        yield run
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def locks(workflow: Workflow) -> list[Path]:
    return list((workflow.folder / ".snakemake/locks").glob("*.lock"))


def test_a_killed_run_does_not_lock_out_the_next_and_a_live_one_does(workflow: Workflow) -> None:
    with started(workflow):
        second = workflow.run(TARGET)
        assert second.returncode != 0 and "LockException" in second.stderr
    assert locks(workflow)  # what kill -9 leaves behind
    third = workflow.run(TARGET)
    assert third.returncode == 0, third.stderr
    assert (workflow.folder / TARGET).exists()
    assert not locks(workflow)


def test_a_live_run_keeps_its_settings_and_one_with_the_same_may_run_beside_it(workflow: Workflow) -> None:
    other, resolved = "results/small/problems/test.parquet", workflow.folder / "results/small/config.json"
    with started(workflow):
        before = resolved.read_bytes()
        refused = workflow.run(other)
        assert refused.returncode != 0
        assert "results/small/config.json: a run that is alive has other settings for these results" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert resolved.read_bytes() == before and not (workflow.folder / other).exists()
        beside = workflow.run(other, config=ENDLESS)
        assert beside.returncode == 0, beside.stderr
        assert resolved.read_bytes() == before
    assert workflow.run(TARGET).returncode == 0
    assert resolved.read_bytes() != before


@pytest.mark.heavy
def test_a_second_live_run_protects_the_folder_after_the_first_has_ended(workflow: Workflow) -> None:
    (workflow.folder / ".snakemake").mkdir()
    with (workflow.folder / ".snakemake/mmprm.in-use").open("w") as mark:
        fcntl.flock(mark, fcntl.LOCK_SH)  # as any live run does
        (workflow.folder / ".snakemake/locks").mkdir()
        (workflow.folder / ".snakemake/locks/0.output.lock").write_text(TARGET + "\n")
        assert "LockException" in workflow.run(TARGET).stderr
    assert workflow.run(TARGET).returncode == 0
