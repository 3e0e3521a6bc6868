"""Readies the process for transformers' processors and vLLM. Call `prepare` before either is imported.

torchvision's compiled operators load only beside the torch build (CPU or CUDA) that they were made for, and importing
torchvision without them fails. The processors import it, and use none of these operators: their schemas suffice.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

_SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def prepare() -> None:
    """Keep Hugging Face off the network, and make `import torchvision` work. Does nothing the second time.

    HF_HUB_OFFLINE is left alone where it is set.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # a pool of threads a tokenizer, beside the engine's own
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or _has_operator("nms"):
        return
    for folder in spec.submodule_search_locations or []:
        for library in Path(folder).glob("_C*.so"):
            try:
                torch.ops.load_library(str(library))
            except OSError:
                continue
    for name, schema in _SCHEMAS.items():
        if not _has_operator(name):
            torch.library.define(f"torchvision::{name}", schema)


def quiet() -> None:
    """Switch off transformers' own bars for loading and saving weights."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def _has_operator(name: str) -> bool:
    import torch

    return hasattr(torch.ops.torchvision, name)
