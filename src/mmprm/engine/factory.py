"""Open the engines that the configuration names: the policy's, and that of an instruction model.

In: configuration and model folder. Out: an Engine.
"""

from pathlib import Path

from mmprm.config import Config, Prompt
from mmprm.config.models import InstructedModel
from mmprm.config.offline import Settings
from mmprm.engine.base import Engine
from mmprm.model import folders
from mmprm.runtime.http_client import Server


def open_engine(config: Config, policy: Path) -> Engine:
    """Load the policy, or reach the server that has it.

    Raises UserError if the folder is incomplete, its tokenizer lacks the control tokens, or the server is away.
    """
    if (policy / folders.MANIFEST).is_file():
        folders.check_manifest(policy)
    if config.engine.kind == "server":
        from mmprm.engine.server_engine import ServerEngine

        return ServerEngine(config, policy)
    return _open_local(config, policy, tags=True)


def open_instructed(config: Settings, settings: InstructedModel, server: Server) -> Engine:
    """Open an instruction model, not a policy: its prompts are problems' questions, its replies free text.

    A local one runs as `config.engine` says, except for what `settings` says. UserError if its folder is incomplete.
    """
    if settings.kind == "server":
        from mmprm.engine.over_http import ChatEngine

        return ChatEngine(settings, server)
    engine = {"kind": settings.kind, "max_running": settings.max_concurrent, "max_model_len": settings.max_model_len}
    local = config.model_copy(update={"prompt": Prompt(), "engine": config.engine.model_copy(update=engine)})
    return _open_local(local, Path(settings.model), tags=False)


def _open_local(config: Settings, folder: Path, tags: bool) -> Engine:
    if config.engine.kind == "vllm":
        from mmprm.engine.vllm_engine import VllmEngine

        return VllmEngine(config, folder, tags)
    from mmprm.engine.transformers_engine import TransformersEngine

    return TransformersEngine(config, folder, tags)
