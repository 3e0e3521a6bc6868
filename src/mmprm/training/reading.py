"""Weights for a training of several processes, read once a node. In: a model folder. Out: the model, on its device."""

import fcntl
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from mmprm.model import folders


def load_in_turn(start: Path, dtype: str, zero: str | None) -> Any:
    """Load a model, one process of a node after the other, each straight on to its own GPU.

    The first reads the files, the others find them in the page cache, and main memory holds one copy of the weights at
    a time, where eight processes of an 8B model would hold 130 GB. Under ZeRO-3 (`zero`) the processes load together,
    for each keeps its shard of every tensor. A model alone, or on the CPU, stays where it is loaded.
    """
    if int(os.environ.get("LOCAL_WORLD_SIZE", "1")) == 1 or zero == "zero3":
        return folders.load_model(start, dtype)
    import torch

    device = f"cuda:{os.environ['LOCAL_RANK']}" if torch.cuda.is_available() else "cpu"
    name = hashlib.sha256(str(start.resolve()).encode()).hexdigest()[:16]
    with (Path(tempfile.gettempdir()) / f"mmprm-{os.getuid()}-{name}.reading").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # ends with the process, however that ends
        return folders.load_model(start, dtype, device)
