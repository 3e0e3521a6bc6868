"""Settings of the verbs that need no run. In: perhaps a file with sections of a configuration. Out: the settings."""

from pathlib import Path

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
