"""Where a run's models were made: commit, lock, versions, hardware, command, time, load, settings. In: manifests.

What a manifest does not say, as one of an earlier version, is None.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmprm.config import Config
from mmprm.report.results import Row, read_json


def provenance(config: Config, folder: Path) -> Row:
    """Return the models, the environments in which they were made, and the SHA-256 of results/<run>/config.json.

    An environment is {models, python, versions, locks}; models that have it in common are named together.
    """
    folders = {"policy": folder / "policy"}
    folders |= {f"PRM {variant}": folder / "prm" / variant for variant in config.prm.models}
    manifests = {name: read_json(place / "manifest.json") for name, place in folders.items()}
    models: list[Row] = []
    environments: list[Row] = []
    for name, manifest in manifests.items():
        if isinstance(manifest, dict):
            info, made = _mapping(manifest.get("info")), _mapping(manifest.get("provenance"))
            models.append(_model(name, info, made))
            environment: Row = {"python": _text(made.get("python"))}
            environment |= {key: dict(_mapping(made.get(key))) for key in ("versions", "locks")}
            if not any(environment.values()):
                continue
            same = [one for one in environments if {key: one[key] for key in environment} == environment]
            if same:
                same[0]["models"].append(name)
            else:
                environments.append({"models": [name], **environment})
    text = config.model_dump_json(indent=2) + "\n"  # as workflow.run_lock writes it
    return {"models": models, "environments": environments, "config": hashlib.sha256(text.encode()).hexdigest()}


def _model(name: str, info: Mapping[str, Any], made: Mapping[str, Any]) -> Row:
    machine, command = _mapping(made.get("machine")), made.get("command")
    hardware = [f"{machine[key]}" for key in ("system", "kind") if machine.get(key)]
    hardware += [f"{machine['cores']} cores"] if machine.get("cores") else []
    gpus = machine.get("gpus")
    counts = Counter(map(str, gpus if isinstance(gpus, list) else []))
    hardware += [f"{count} x {gpu}" if count > 1 else gpu for gpu, count in counts.items()]
    load = made.get("load")
    return {
        "name": name,
        "time": _text(made.get("time")),
        "commit": _text(made.get("commit")),
        "seed": _mapping(info.get("config")).get("seed"),
        "settings": _text(made.get("info")),
        "hardware": ", ".join(hardware) or None,
        "load": " ".join(map(str, load)) if isinstance(load, list) else None,
        "seconds": info.get("seconds") if isinstance(info.get("seconds"), int | float) else None,
        "command": " ".join(map(str, command)) if isinstance(command, list) else None,
    }


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
