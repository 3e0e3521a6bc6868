"""The front matter of a model's card, as the hub reads it. In: the configuration. Out: YAML between lines of dashes."""

from __future__ import annotations

from typing import Literal

from mmprm.config import Config
from mmprm.hub.licences import base_licence, base_model, data_licences, licence_of, repositories

_TAGS = {"policy": ["mmprm-policy"], "prm": ["process-reward-model", "reward-model", "mmprm-prm"]}


def model_front_matter(config: Config, kind: Literal["policy", "prm"], reads_images: bool) -> str:
    """Return the front matter of a policy, or of a PRM: what it was made from, and under which licence it is.

    The licence is that of the base and of all data; unknown, where one of them is.
    """
    from huggingface_hub import ModelCardData

    sources, extra = list(config.policy.sources), []
    if kind == "prm":
        sources, extra = sources + list(config.seeds.sources), list(config.labels.extra)
    base = base_model(config)
    as_text = "text-generation" if kind == "policy" else "text-classification"
    data = ModelCardData(
        base_model=base,
        datasets=repositories(config, sources, extra) or None,
        language=list(config.data_card.language),
        library_name="transformers",
        pipeline_tag="image-text-to-text" if reads_images else as_text,
        tags=[*_TAGS[kind], "mathematics", "mmprm"],
    )
    if base:
        data["base_model_relation"] = "finetune"
    for key, value in licence_of([base_licence(config), *data_licences(config, sources, extra).values()]).items():
        data[key] = value
    return f"---\n{data.to_yaml()}\n---"
