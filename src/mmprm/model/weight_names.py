"""The names of a model's weights, as vLLM reads them. In: a folder. Out: the same, perhaps under the published names.

transformers 5 has the weights of CLIP's and SigLIP's vision towers one level higher than the published folders of LLaVA
and Gemma-3 do. It reads both, and writes the names that it has read; vLLM reads the published ones alone.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

_TOWERS = ("clip_vision_model", "siglip_vision_model")
_FLAT = re.compile(r"^((?:model\.)?vision_tower\.)(?=(?:embeddings|encoder|pre_layrnorm|post_layernorm|head)\.)")


def published(name: str) -> str:
    """Return the name under which a weight is published: vision_tower.vision_model.… for vision_tower.…."""
    return _FLAT.sub(r"\1vision_model.", name)


def publish(folder: Path) -> bool:
    """Give the weights of a folder their published names, where they have others; return whether any had."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if (config.get("vision_config") or {}).get("model_type") not in _TOWERS:
        return False
    changed = False
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as weights:
            names, metadata = list(weights.keys()), weights.metadata()
        if any(published(name) != name for name in names):
            changed = True
            save_file({published(name): value.clone() for name, value in load_file(file).items()}, file, metadata)
    for file in folder.glob("*.safetensors.index.json"):
        index: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        index["weight_map"] = {published(name): place for name, place in index["weight_map"].items()}
        file.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return changed
