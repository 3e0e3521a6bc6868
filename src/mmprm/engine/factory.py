"""Opens the engine that the configuration names. In: configuration and policy folder. Out: an Engine."""

from __future__ import annotations

from pathlib import Path

from mmprm import models
from mmprm.config import Config
from mmprm.engine.base import Engine


def open_engine(config: Config, policy: Path) -> Engine:
    """Load the policy. Raises UserError where the folder is incomplete or its tokenizer lacks the control tokens."""
    if (policy / models.MANIFEST).is_file():
        models.check_manifest(policy)
    if config.engine.kind == "vllm":
        from mmprm.engine.vllm_engine import VllmEngine

        return VllmEngine(config, policy)
    from mmprm.engine.transformers_engine import TransformersEngine

    return TransformersEngine(config, policy)
