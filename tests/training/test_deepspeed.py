"""DeepSpeed itself, on two processes of this machine's CPU: ZeRO-1, 2 and 3 against one process, and a killed run.

The first run on a machine compiles DeepSpeed's communication for some 40 seconds, into TORCH_EXTENSIONS_DIR or
~/.cache/torch_extensions; these tests leave that folder where it is, so that it happens once.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmprm import config, models
from mmprm.problem import Problem
from mmprm.solution import Renderer
from mmprm.training import launch, loop, sft
from mmprm.training.job import Job

PATIENCE = 240  # seconds that a killed run has for its first checkpoint, compilation included
LAUNCH = "import pickle, sys; from pathlib import Path; from mmprm.training import launch; "
LAUNCH += "launch.fit(pickle.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]))"

Make = Callable[[str | None, Path], Job]
Run = tuple[loop.Outcome, Path]


@pytest.fixture(scope="module", autouse=True)
def two_processes() -> Iterator[None]:
    """Two processes without a GPU, of one thread each: this machine may have no more than two cores."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMPRM_PROCESSES", "2")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        yield


@pytest.fixture(scope="module")
def make_job(
    mini_policy_folder: Path, mini_problems: list[Problem], training_config: Callable[..., config.Config]
) -> Make:
    """Makes the job of three updates that every test here runs: under DeepSpeed's given stage, or under none."""
    processor = models.load_processor(mini_policy_folder)
    examples, _ = sft.supervised_examples(mini_problems, processor, Renderer(processor), 512)

    def make(deepspeed: str | None, work: Path) -> Job:
        settings = training_config(epochs=1.5, save_every=1, deepspeed=deepspeed).policy.training
        return Job("test", mini_policy_folder, examples, "tokens", settings, 0, work)

    return make


@pytest.fixture(scope="module")
def single(make_job: Make, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run that the others are held against: one process, without DeepSpeed."""
    folder = tmp_path_factory.mktemp("single")
    return loop.fit(make_job(None, folder / "work"), folder / "model"), folder / "model"


@pytest.fixture(scope="module")
def sharded(make_job: Make, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Runs a stage of ZeRO on two processes, undisturbed; each stage once, for it takes some seconds."""

    @functools.cache
    def run(stage: str) -> Run:
        folder = tmp_path_factory.mktemp(stage)
        return launch.fit(make_job(stage, folder / "work"), folder / "model"), folder / "model"

    return run


def _losses(outcome: loop.Outcome) -> list[float]:
    return [row["loss"] for row in outcome.history]


def _furthest(folder: Path, other: Path) -> float:
    """How far the weights of two models that were saved are apart, at most; the models must have the same tensors."""
    weights, others = (models.load_model(path).state_dict() for path in (folder, other))
    assert weights.keys() == others.keys()
    assert all(weight.shape == others[name].shape for name, weight in weights.items())
    return max(float((weight - others[name]).abs().max()) for name, weight in weights.items())


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["zero1", "zero2", "zero3"])
def test_two_processes_learn_what_one_learns(
    stage: str, single: Run, sharded: Callable[[str], Run], mini_policy_folder: Path
) -> None:
    outcome, folder = sharded(stage)
    assert outcome.steps == len(outcome.history) == 3 and outcome.resumed_from == 0
    assert _losses(outcome) == pytest.approx(_losses(single[0]), rel=1e-3)
    assert (folder / "model.safetensors").is_file()
    assert _furthest(single[1], mini_policy_folder) > 1e-3  # the weights have moved, or equality is cheap
    assert _furthest(folder, single[1]) < 1e-5


def _processes_of(description: Path) -> list[int]:
    """The processes that name this file on their command line: torchrun and its two workers."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:  # it ended since it was listed
            continue
        if os.fsencode(description) in words:
            found.append(int(entry.parent.name))
    return found


def _wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} seconds"
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for the workers in /proc")
def test_a_killed_run_leaves_no_worker_behind_and_goes_on_from_its_checkpoint(
    make_job: Make, sharded: Callable[[str], Run], tmp_path: Path
) -> None:
    undisturbed, untouched = sharded("zero2")
    job, model = make_job("zero2", tmp_path / "work"), tmp_path / "model"
    (tmp_path / "job").write_bytes(pickle.dumps(job))
    command = [sys.executable, "-c", LAUNCH, str(tmp_path / "job"), str(model)]
    launcher = subprocess.Popen(command)
    description = job.work / "job.pickle"
    try:
        whole = functools.partial(job.work.glob, "checkpoints/checkpoint-*/complete.json")
        _wait_for(lambda: any(whole()) or launcher.poll() is not None, PATIENCE, "a whole checkpoint")
        assert launcher.poll() is None, "it ended by itself; its messages stand above"
        assert len(_processes_of(description)) == 3
        os.kill(launcher.pid, signal.SIGKILL)
        launcher.wait()
        # The signal reaches neither torchrun nor its workers. One that lived on would write into the folder of
        # checkpoints together with the run that comes after it.
        _wait_for(lambda: not _processes_of(description), 5, "the end of torchrun and its workers")
    finally:
        launcher.kill()
        for process in _processes_of(description):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    outcome = launch.fit(job, model)
    assert 0 < outcome.resumed_from < outcome.steps
    assert _losses(outcome) == pytest.approx(_losses(undisturbed), rel=1e-5)
    assert _furthest(model, untouched) < 1e-5
