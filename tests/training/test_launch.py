"""What each process of torchrun runs. DeepSpeed itself compiles for a minute on a CPU, so it is not started here."""

from __future__ import annotations

import dataclasses
import json
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from mmprm.config import Training
from mmprm.data.problem import Problem
from mmprm.model import folders
from mmprm.model.step_text import Renderer
from mmprm.runtime.errors import UserError
from mmprm.training import launch, loop, policy_examples
from mmprm.training.examples import Example
from mmprm.training.job import TrainJob, deepspeed_settings
from mmprm.training.update_plan import update_plan


@pytest.fixture
def job(mini_policy_folder: Path, mini_problems: list[Problem], training_config, tmp_path: Path) -> TrainJob:
    processor = folders.load_processor(mini_policy_folder)
    examples, _ = policy_examples.supervised_examples(mini_problems, processor, Renderer(processor), 512)
    training = training_config(max_steps=2).policy.training
    return TrainJob("test", mini_policy_folder, examples, "tokens", training, 0, tmp_path / "work")


@pytest.mark.slow
def test_a_job_that_was_handed_to_another_process_gives_the_same_losses(job: TrainJob, tmp_path: Path, monkeypatch):
    here = launch.fit(job, tmp_path / "here")
    (tmp_path / "job.pickle").write_bytes(pickle.dumps(job))
    arguments = [str(tmp_path / name) for name in ("job.pickle", "there", "outcome.json")]
    monkeypatch.setattr(sys, "argv", ["launch", *arguments])
    (tmp_path / "there").mkdir()
    job.work.joinpath("checkpoints").rename(tmp_path / "kept")
    assert launch.main() == 0
    there = loop.TrainResult(**json.loads((tmp_path / "outcome.json").read_text()))
    assert [row["loss"] for row in there.history] == pytest.approx([row["loss"] for row in here.history], rel=1e-5)
    assert (tmp_path / "there" / "model.safetensors").is_file()


@pytest.mark.slow
def test_a_finished_job_that_is_run_again_trains_nothing_again(job: TrainJob, tmp_path: Path):
    first = launch.fit(job, tmp_path / "out")
    again = launch.fit(job, tmp_path / "out")
    assert (first.resumed_from, again.resumed_from) == (0, 2)
    assert again.history == first.history


@pytest.mark.slow
@pytest.mark.parametrize("more", [{"lora": {"rank": 4, "dropout": 0.1}}, {"precision": "bf16"}], ids=["lora", "bf16"])
def test_a_training_goes_on_from_a_checkpoint_as_if_nothing_had_been(
    more, job: TrainJob, training_config, tmp_path: Path
):
    """With adapters, whose dropout draws on; with bf16, whose weights are rounded on export, not between updates."""
    training = training_config(epochs=2, max_steps=4, save_every=2, **more).policy.training
    job = dataclasses.replace(job, training=training)
    whole = loop.fit(job, tmp_path / "whole")
    shutil.rmtree(job.work / "checkpoints" / "checkpoint-4")
    again = loop.fit(job, tmp_path / "again")
    assert (whole.resumed_from, again.resumed_from) == (0, 2)
    assert [row["loss"] for row in again.history] == pytest.approx([row["loss"] for row in whole.history], rel=1e-6)
    saved = [safetensors.torch.load_file(tmp_path / name / "model.safetensors") for name in ("whole", "again")]
    kind = torch.bfloat16 if training.precision == "bf16" else torch.float32
    assert {weight.dtype for weight in saved[0].values()} == {kind}
    assert all(torch.equal(saved[0][name], saved[1][name]) for name in saved[0])
    before = folders.load_model(job.start).state_dict()
    after = folders.load_model(tmp_path / "again").state_dict()
    assert any(not torch.equal(before[name].to(kind).float(), after[name]) for name in before), "it has learnt"


def test_updates_must_divide_among_the_processes(job: TrainJob, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(UserError, match="batch_size: 6 is not a multiple of 4 processes"):
        loop.fit(job, tmp_path / "out")


def test_deepspeed_gets_no_optimizer_of_its_own(training_config):
    """With one it would compile for minutes, and its AdamW would not be Trainer's."""
    settings = deepspeed_settings(training_config(deepspeed="zero2").policy.training)
    assert settings["zero_optimization"]["stage"] == 2 and "optimizer" not in settings


def test_the_longest_examples_share_a_micro_batch():
    tokens = [{"input_ids": np.zeros(length, dtype=np.int64)} for length in (10, 90, 11, 91, 12, 92)]
    examples = [Example("a problem", row, row["input_ids"], ()) for row in tokens]
    plan, _ = update_plan(examples, Training(learning_rate=1, batch_size=6, micro_batch_size=3), 1, seed=0)
    assert sorted(map(sorted, plan)) == [[0, 2, 4], [1, 3, 5]]
