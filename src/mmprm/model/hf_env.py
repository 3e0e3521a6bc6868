"""Prepares the process for transformers' processors and vLLM. Call `prepare` before either is imported."""

import os

from mmprm.model import torchvision_import


def ask_the_driver() -> None:
    """Make torch ask NVML whether there is CUDA; call it before anything asks, which imports of transformers do.

    Asked otherwise, torch initialises CUDA's runtime in this process, and a process that is forked from it, as vLLM's
    engine is, cannot use CUDA (vllm#12754, vllm#15951).
    """
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")


def prepare() -> None:
    """Keep Hugging Face offline, unless HF_HUB_OFFLINE is set, and make `import torchvision` work; may be repeated."""
    ask_the_driver()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # else each tokenizer adds threads to the engine's own
    torchvision_import.install()
