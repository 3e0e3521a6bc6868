"""The description of a training run: a TrainJob, which can be pickled for other processes to run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mmprm.config.training import Training
from mmprm.training.example_store import ExampleIndex
from mmprm.training.examples import Example


@dataclass(frozen=True)
class TrainJob:
    """One training run."""

    title: str
    start: Path  # the model folder to start from
    examples: Sequence[Example]
    loss: Literal["tokens", "markers", "counts"]
    training: Training
    seed: int
    work: Path  # checkpoints go to work/checkpoints
    trees: bool = False  # lay a problem's examples out as one prefix tree; only for a loss at markers
    held_out: Sequence[Example] = ()  # what training.keep_best compares checkpoints on
    packed_tokens: int | None = None  # pack examples one after another up to this many tokens; None: padded, or trees

    @property
    def keeps_best(self) -> bool:
        """Whether the best checkpoint is exported, not the last: requested, and there are held-out examples."""
        return self.training.keep_best and bool(self.held_out)

    def held_out_batches(self) -> Iterator[list[tuple[int, Example]]]:
        """Yield the held-out examples with their indices in micro-batches, ordered by problem."""
        problem_ids = ExampleIndex.of(self.held_out).problem_ids
        order = sorted(range(len(problem_ids)), key=lambda index: (problem_ids[index], index))
        size = self.training.micro_batch_size
        for start in range(0, len(order), size):
            yield [(index, self.held_out[index]) for index in order[start : start + size]]
