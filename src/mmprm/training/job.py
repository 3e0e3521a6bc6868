"""What a training run is told: a Job, which can be pickled, to be run by other processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mmprm.config import Training
from mmprm.training import data


@dataclass(frozen=True)
class Job:
    """One training run."""

    title: str
    start: Path  # model folder that it starts from
    examples: Sequence[data.Example]
    loss: Literal["tokens", "markers"]
    training: Training
    seed: int
    work: Path  # checkpoints go to work/checkpoints
    trees: bool = False  # a problem's sequences as one prefix tree (packing); for markers alone
