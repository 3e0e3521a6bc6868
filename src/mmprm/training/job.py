"""What a training run is told: a Job, which can be pickled, to be run by other processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mmprm.config import Training
from mmprm.training import data
from mmprm.training.store import ExampleIndex


@dataclass(frozen=True)
class TrainJob:
    """One training run."""

    title: str
    start: Path  # model folder that it starts from
    examples: Sequence[data.Example]
    loss: Literal["tokens", "markers", "counts"]
    training: Training
    seed: int
    work: Path  # checkpoints go to work/checkpoints
    trees: bool = False  # a problem's sequences as one prefix tree (packing); for markers alone
    held_out: Sequence[data.Example] = ()  # what training.keep_best judges by
    packed_tokens: int | None = None  # sequences one after another up to so many tokens; None: padded, or trees


def keeps_best(job: TrainJob) -> bool:
    """Is the best checkpoint exported? Where it is asked for and there is something to judge by."""
    return job.training.keep_best and bool(job.held_out)


def held_out_batches(job: TrainJob) -> Iterator[list[tuple[int, data.Example]]]:
    """The held-out examples in micro-batches, problem by problem."""
    names = ExampleIndex.of(job.held_out).problem_ids
    order = sorted(range(len(names)), key=lambda index: (names[index], index))
    size = job.training.micro_batch_size
    for start in range(0, len(order), size):
        yield [(index, job.held_out[index]) for index in order[start : start + size]]
