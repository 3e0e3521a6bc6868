"""Opens the engine that the configuration names. In: configuration and policy folder. Out: an Engine."""

from __future__ import annotations

from pathlib import Path

from mmprm import models
from mmprm.config import Config
from mmprm.engine.base import Engine


def open_engine(config: Config, policy: Path) -> Engine:
    """Load the policy, or reach the server that has it.

    Raises UserError where the folder is incomplete, its tokenizer lacks the control tokens, or the server is not there.
    """
    if (policy / models.MANIFEST).is_file():
        models.check_manifest(policy)
    if config.engine.kind == "vllm":
        from mmprm.engine.vllm_engine import VllmEngine

        return VllmEngine(config, policy)
    if config.engine.kind == "server":
        from mmprm.engine.server_engine import ServerEngine

        return ServerEngine(config, policy)
    from mmprm.engine.transformers_engine import TransformersEngine

    return TransformersEngine(config, policy)
