"""The card of a process reward model, with snippets that score by plain libraries. In: its folder. Out: markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmprm.config import Config
from mmprm.hub.front_matter import model_front_matter
from mmprm.model import folders
from mmprm.prm import vllm_head
from mmprm.prm.step_scores import tokens_of
from mmprm.training.finish import render_card


def prm_card(config: Config, folder: Path, info: Mapping[str, Any]) -> str:
    """Write the card of the PRM in `folder`, whose manifest will hold `info`."""
    recipe = info["config"]["prm"]
    judge = config.labels.consensus
    selected = f", of paths whose first error `{judge.shown}` finds in the same place" if judge else ""
    if recipe["label_set"] is not None:  # it may be without the judge
        changed = "; ".join(f"{key}: {value}" for key, value in config.labels.changed(recipe["label_set"]).items())
        selected = f" (label set `{recipe['label_set']}`: {changed})"
    step_data = ", ".join(f"`{name}` ({config.step_data[name].about})" for name in config.labels.extra)
    shown = {
        "label": recipe["label"],
        "marker_init": repr(recipe["marker_init"]),
        "selected": selected,
        "extra": f"; and those that came with {step_data}" if step_data else "",
        "front": model_front_matter(config, "prm", folders.reads_images(folder)),
    }
    return render_card(
        "prm", "prm_card.md.jinja", config, info, info["config"]["training"], **shown, **_use(config, folder, recipe)
    )


def _use(config: Config, folder: Path, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the snippets depend on."""
    tokenizer = folders.load_processor(folder).tokenizer
    tokens = tokens_of(tokenizer, recipe["label"] == "counts")
    return {
        "pictures": folders.reads_images(folder),
        "dtype": folders.weights_dtype(folder, "auto"),  # vLLM's own default is half precision
        "instruction": json.dumps(config.prompt.instruction),
        "pooler": json.dumps(vllm_head.pooler(tokens)),
        "refused_by_vllm": vllm_head.refused(folder, tokens, tokenizer),
        "not_on_cpu": folders.model_type(folder) in vllm_head.BIDIRECTIONAL,
    }
