"""Who reads which examples while a model is trained: each process its own, in workers of its own."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from noted_examples import NotedExamples, reads

from mmprm import config
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, row_of
from mmprm.training import batches, launch, loop, policy_examples
from mmprm.training.job import TrainJob
from mmprm.training.update_plan import update_plan

pytestmark = pytest.mark.slow


@pytest.fixture
def make_job(
    mini_policy_folder: Path,
    mini_problems: list[Problem],
    training_config: Callable[..., config.Config],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., TrainJob]:
    """Makes a job of two updates over examples on disk."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    tables.write(tmp_path / "rows.parquet", map(row_of, mini_problems), schemas.PROBLEMS, group=5)
    monkeypatch.setattr(policy_examples, "_SHARD_ROWS", 5)
    policy_examples.assemble_solutions([tmp_path / "rows.parquet"], mini_policy_folder, tmp_path / "examples")

    def make(name: str, packed_tokens: int | None = None, **training: Any) -> TrainJob:
        settings = training_config(max_steps=2, **training).policy.training
        examples = NotedExamples(tmp_path / "examples")
        work = tmp_path / name
        return TrainJob("test", mini_policy_folder, examples, "tokens", settings, 0, work, packed_tokens=packed_tokens)

    return make


def _weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("packed_tokens", [None, 400])
def test_tiles_made_in_workers_give_the_same_weights(
    packed_tokens: int | None, make_job: Callable[..., TrainJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_by = tmp_path / "made_by"
    prepare = batches.image_inputs

    def noted(*arguments: Any) -> Any:
        with made_by.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return prepare(*arguments)

    monkeypatch.setattr(batches, "image_inputs", noted)
    weights = []
    for workers in (0, 2):
        job = make_job(str(workers), packed_tokens, loader_workers=workers)
        loop.fit(job, tmp_path / f"out{workers}")
        weights.append(_weights(tmp_path / f"out{workers}"))
        here = {int(line) == os.getpid() for line in made_by.read_text().split()}
        assert here == {workers == 0}
        made_by.unlink()
    assert weights[0] == weights[1]


@pytest.mark.heavy
def test_two_ranks_read_disjoint_halves(
    make_job: Callable[..., TrainJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMPRM_PROCESSES", "2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    python_path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", python_path)  # of the workers, for NotedExamples
    job = make_job("sharded", deepspeed="zero1")
    launch.fit(job, tmp_path / "sharded")
    first, second = (reads(tmp_path / "examples", rank) for rank in ("0", "1"))
    assert first and second and not set(first) & set(second)
    plan, _ = update_plan(job.examples, job.training, 2, 0)
    assert sorted(first + second) == sorted(chain(*plan)) == list(range(12))

    alone = dataclasses.replace(job, training=make_job("x").training, work=tmp_path / "alone")
    loop.fit(alone, tmp_path / "one")
    assert sorted(reads(tmp_path / "examples", "")) == list(range(12)), "each example is read once"
