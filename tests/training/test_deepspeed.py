"""DeepSpeed itself, on two processes of this machine's CPU: ZeRO-1, 2 and 3 against one process, and killed runs."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_internvl
import torch
from listening import addresses_of, beyond_this_machine
from safetensors.torch import load_file
from sharded_runs import furthest, held_out_loss, kill_after_a_checkpoint, losses
from training_fixtures import config_of

from mmprm import config
from mmprm.data.problem import Problem
from mmprm.model import folders
from mmprm.model.step_text import NO, YES, Renderer, control_ids
from mmprm.prm.train_prm import train_prm
from mmprm.training import launch, loop, policy_examples
from mmprm.training.examples import IGNORE, Example
from mmprm.training.job import TrainJob

Make = Callable[..., TrainJob]
Run = tuple[loop.TrainResult, Path]
HEARD: dict[str, set[str]] = {}  # stage -> the addresses on which its processes listened

heavy = pytest.mark.heavy
in_proc = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for the workers in /proc")


@pytest.fixture(scope="module", autouse=True)
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two processes without a GPU, of one thread each: this machine may have no more than two cores.

    Returns the folder of what torch compiles.
    """
    compiled = tmp_path_factory.mktemp("compiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_EXTENSIONS_DIR", str(compiled))
        patch.setenv("MMPRM_PROCESSES", "2")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        yield compiled


@pytest.fixture(scope="module")
def make_job(
    mini_policy_folder: Path, mini_problems: list[Problem], training_config: Callable[..., config.Config]
) -> Make:
    """Makes the job of four updates that every test here runs: under DeepSpeed's given stage, or under none.

    The last update is over one example: of two processes one has nothing to learn from.
    """
    processor = folders.load_processor(mini_policy_folder)
    examples, _ = policy_examples.supervised_examples(mini_problems, processor, Renderer(processor), 512)

    def make(deepspeed: str | None, work: Path, **more: Any) -> TrainJob:
        chosen = {"epochs": 19 / 12, "save_every": 1, "deepspeed": deepspeed} | more
        settings = training_config(**chosen).prm.training  # whose keys are the policy's, and keep_best
        held_out = unlearnable(examples) if settings.keep_best else ()
        return TrainJob("test", mini_policy_folder, examples, "tokens", settings, 0, work, held_out=held_out)

    return make


def unlearnable(examples: Sequence[Example]) -> list[Example]:
    """Held-out examples whose labels no example has: whatever is learnt makes them less likely, update by update."""
    seen = set(np.concatenate([example.labels for example in examples]).tolist())
    absent = next(token for token in range(len(seen) + 1) if token not in seen)
    return [
        dataclasses.replace(example, labels=np.where(example.labels == IGNORE, IGNORE, absent))
        for example in examples[:4]
    ]


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
        with addresses_of() as HEARD[stage]:
            return launch.fit(make_job(stage, folder / "work"), folder / "model"), folder / "model"

    return run


@pytest.mark.slow
@pytest.mark.parametrize("stage", [pytest.param("zero1", marks=heavy), pytest.param("zero2", marks=heavy), "zero3"])
def test_two_processes_learn_what_one_learns(
    stage: str, single: Run, sharded: Callable[[str], Run], mini_policy_folder: Path
) -> None:
    outcome, folder = sharded(stage)
    assert outcome.steps == len(outcome.history) == 4 and outcome.resumed_from == 0
    assert losses(outcome) == pytest.approx(losses(single[0]), rel=1e-3)
    assert (folder / "model.safetensors").is_file()
    assert furthest(single[1], mini_policy_folder) > 1e-3  # the weights have moved, or equality is cheap
    assert furthest(folder, single[1]) < 1e-5


@pytest.mark.slow
@in_proc
def test_no_neighbour_can_connect_to_a_training_on_one_machine(sharded: Callable[[str], Run]) -> None:
    """Whoever connected to torchrun's store could have the processes unpickle, and run, what he liked."""
    sharded("zero3")
    assert HEARD["zero3"], "the processes listen to each other"
    assert beyond_this_machine(HEARD["zero3"]) == set()


@pytest.mark.slow
def test_nothing_is_compiled(sharded: Callable[[str], Run], two_processes: Path) -> None:
    """A machine may lack a compiler, and the lock of a compilation that is killed keeps all later ones waiting."""
    sharded("zero3")
    assert list(two_processes.iterdir()) == []


@pytest.mark.slow
@heavy
def test_half_precision_learns_nearly_what_single_precision_does(make_job: Make, single: Run, tmp_path: Path) -> None:
    """bf16 under DeepSpeed: the loss falls by a tenth, as in float32, and the model is saved in bfloat16."""
    outcome = launch.fit(make_job("zero1", tmp_path / "work", precision="bf16"), tmp_path / "model")
    assert losses(outcome) == pytest.approx(losses(single[0]), rel=1e-2)
    assert losses(single[0])[-1] < 0.95 * losses(single[0])[0]
    assert {weight.dtype for weight in folders.load_model(tmp_path / "model", "auto").parameters()} == {torch.bfloat16}


@pytest.mark.slow
@heavy
@in_proc
def test_a_killed_run_leaves_no_worker_behind_and_goes_on_from_its_checkpoint(
    make_job: Make, sharded: Callable[[str], Run], tmp_path: Path
) -> None:
    undisturbed, untouched = sharded("zero2")
    job, model = make_job("zero2", tmp_path / "work"), tmp_path / "model"
    kill_after_a_checkpoint(job, model, processes=2)
    outcome = launch.fit(job, model)
    assert 0 < outcome.resumed_from < outcome.steps
    assert losses(outcome) == pytest.approx(losses(undisturbed), rel=1e-5)
    assert furthest(model, untouched) < 1e-5


@pytest.mark.slow
@in_proc
@pytest.mark.parametrize(
    ("stage", "before", "after"), [pytest.param("zero2", 2, 1, marks=heavy), pytest.param("zero3", 1, 2, marks=heavy)]
)
def test_a_killed_run_goes_on_with_another_number_of_processes(
    stage: str, before: int, after: int, make_job: Make, single: Run, tmp_path: Path, monkeypatch, capfd
) -> None:
    """Weights, optimizer and schedule are kept: what is learnt is what one process learns undisturbed."""
    job, model = make_job(stage, tmp_path / "work"), tmp_path / "model"
    kill_after_a_checkpoint(job, model, before)
    monkeypatch.setenv("MMPRM_PROCESSES", str(after))
    outcome = launch.fit(job, model)
    at = outcome.resumed_from
    assert 0 < at < outcome.steps
    said = f"resuming after update {at} of {outcome.steps}: {before} processes before, {after} now"
    assert said in capfd.readouterr().err
    assert losses(outcome) == pytest.approx(losses(single[0]), rel=1e-5)
    rates = [[row["learning_rate"] for row in run.history] for run in (outcome, single[0])]
    assert rates[0] == pytest.approx(rates[1], rel=1e-9)
    assert furthest(model, single[1]) < 1e-5


@pytest.mark.slow
@heavy
def test_adapters_go_on_with_another_number_of_processes_and_the_best_of_both_are_exported(
    make_job: Make, tmp_path: Path, monkeypatch
) -> None:
    """The best checkpoint, the first, was written by two processes, and one exports it."""
    more = {"lora": {"rank": 4}, "keep_best": True, "learning_rate": 0.005, "warmup_share": 0}
    job = make_job("zero2", tmp_path / "work", **more)
    whole = launch.fit(job, tmp_path / "whole")
    judged = {row["step"]: row["loss"] for row in whole.held_out}
    assert [row["step"] for row in whole.held_out] == [1, 2, 3, 4] and whole.steps == 4
    best = min(judged, key=judged.__getitem__)
    shutil.rmtree(job.work / "checkpoints" / "checkpoint-4")  # of the two that are kept, the other is the best
    monkeypatch.setenv("MMPRM_PROCESSES", "1")
    again = launch.fit(job, tmp_path / "again")
    assert again.resumed_from == best == 1
    assert losses(again) == pytest.approx(losses(whole), rel=1e-4)
    assert furthest(tmp_path / "again", tmp_path / "whole") < 1e-6
    assert furthest(tmp_path / "again", job.start) > 1e-3


@pytest.mark.slow
@heavy
def test_the_best_checkpoint_is_exported_whole(make_job: Make, tmp_path: Path) -> None:
    """From ZeRO-3, where each process has a part of it."""
    job = make_job("zero3", tmp_path / "work", keep_best=True, warmup_share=0)
    outcome = launch.fit(job, tmp_path / "model")
    judged = {row["step"]: row["loss"] for row in outcome.held_out}
    best = min(judged, key=judged.__getitem__)
    assert len(judged) == outcome.steps and best == 1
    assert held_out_loss(dataclasses.replace(job, start=tmp_path / "model")) == pytest.approx(judged[best], rel=1e-4)


@pytest.mark.slow
@heavy
def test_a_prm_in_half_precision_learns_the_rows_that_it_reads(prm_tables: tuple[Path, Path], tmp_path: Path) -> None:
    """ZeRO-3 gathers the output layer's weights for its own forward pass, in which these rows are read in float32."""
    policy, prm = tiny_internvl.build(tmp_path / "policy"), tmp_path / "prm"
    settings = {"precision": "bf16", "deepspeed": "zero3", "max_steps": 2, "max_length": 512, "warmup_share": 0}
    chosen = config_of(policy, variants={"hard": {"label": "hard"}}, **settings)
    train_prm(chosen, "hard", policy, *prm_tables, tmp_path / "work", prm)
    before, after = (load_file(folder / "model.safetensors") for folder in (policy, prm))
    (name,) = [name for name in before if name.endswith("lm_head.weight")]
    moved = (before[name].bfloat16().float() - after[name].float()).abs().amax(dim=1)
    ids = control_ids(folders.load_processor(policy).tokenizer)
    read = [ids[NO], ids[YES]]
    assert moved[read].min() > 1e-3 > moved.sum() / len(moved)  # a row without a gradient decays, and that is all
