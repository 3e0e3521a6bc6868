"""Settings of the verbs that need no run. In: perhaps a file with sections of a configuration. Out: the settings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, ValidationError

from mmprm.config import Bench, Config, EngineSettings, GradingSettings, Prompt, load
from mmprm.config.section import Section
from mmprm.runtime.errors import UserError


class OfflineSettings(Section):
    """What scoring and measuring of external candidates depend on."""

    seed: int = Field(0, ge=0)
    prompt: Prompt = Prompt()
    bench: Bench = Bench()
    engine: EngineSettings = EngineSettings()
    grading: GradingSettings = GradingSettings()

    def fitted(self, manifest: Mapping[str, Any], most_images: int | None = None) -> Self:
        """Complete what was not given: the instruction of the PRM's training, and the most images of a problem."""
        changes: dict[str, Any] = {}
        if "prompt" not in self.model_fields_set:
            trained = manifest.get("info", {}).get("config", {}).get("prompt")
            changes["prompt"] = Prompt.model_validate(trained or {})
        if most_images is not None and "max_images" not in self.engine.model_fields_set:
            changes["engine"] = self.engine.model_copy(update={"max_images": max(1, most_images)})
        return self.model_copy(update=changes)


# What scoring takes: a run's configuration, or these sections of one.
Settings = Config | OfflineSettings


def read_offline_settings(path: Path | None) -> OfflineSettings:
    """Read sections of OfflineSettings from a YAML or JSON file, which may be a whole configuration; defaults for None.

    UserError names the file and every wrong key.
    """
    if path is None:
        return OfflineSettings()
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"--config {path}: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"--config {path}: a configuration is a mapping of keys to values")
    known = list(OfflineSettings.model_fields)
    try:
        if not set(values) <= set(known) and {"run", "sources", "policy"} <= set(values):
            config = load(values)
            return OfflineSettings(**{name: getattr(config, name) for name in known})
        return OfflineSettings.model_validate(values)
    except ValidationError as error:
        lines = "\n".join(f"  {'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
        allowed = f"the sections here are {', '.join(known)}; a whole configuration is accepted too"
        raise UserError(f"--config {path} is invalid ({allowed}):\n{lines}") from error
    except UserError as error:
        raise UserError(f"--config {path}: {error}") from error
