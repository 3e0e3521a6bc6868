"""Prepares the process for transformers' processors and vLLM. Call `prepare` before either is imported.

torchvision's compiled operators load only with the torch build (CPU or CUDA) that they were compiled for, and importing
torchvision without them fails. The processors import it but use none of these operators: their schemas suffice.
"""

import importlib.util
import os
from pathlib import Path

_SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def prepare() -> None:
    """Keep Hugging Face offline, unless HF_HUB_OFFLINE is set, and make `import torchvision` work; may be repeated."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # else each tokenizer adds threads to the engine's own
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or hasattr(torch.ops.torchvision, "nms"):
        return
    for folder in spec.submodule_search_locations or []:
        for library in Path(folder).glob("_C*.so"):
            try:
                torch.ops.load_library(str(library))
            except OSError:
                continue
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", schema)
