"""Model cards: README.md of a policy or PRM folder. In: the configuration and the manifest's info. Out: markdown."""

from collections.abc import Mapping
from typing import Any

import jinja2

from mmprm.config import Config


def policy_card(config: Config, info: Mapping[str, Any]) -> str:
    """Write the card of a policy that was fine-tuned on step-tagged solutions."""
    sources = ", ".join(f"`{name}`" for name in config.policy.sources)
    options = info["config"]["policy"]["training"]
    return _render("policy_card.md.jinja", config, info, options, base=config.policy.base.name, sources=sources)


def prm_card(config: Config, info: Mapping[str, Any]) -> str:
    """Write the card of a process reward model."""
    recipe = info["config"]["prm"]
    judge = config.labels.consensus
    selected = f", of paths whose first error `{judge.shown}` finds in the same place" if judge else ""
    if recipe["label_set"] is not None:  # it may be without the judge
        changed = "; ".join(f"{key}: {value}" for key, value in config.labels.changed(recipe["label_set"]).items())
        selected = f" (label set `{recipe['label_set']}`: {changed})"
    step_data = ", ".join(f"`{name}` ({config.step_data[name].about})" for name in config.labels.extra)
    return _render(
        "prm_card.md.jinja",
        config,
        info,
        info["config"]["training"],
        label=recipe["label"],
        marker_init=repr(recipe["marker_init"]),
        selected=selected,
        extra=f"; and those that came with {step_data}" if step_data else "",
    )


def _render(template: str, config: Config, info: Mapping[str, Any], training: Mapping[str, Any], **values: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mmprm.training", "."),
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    options = {**training, "seed": config.seed, "optimizer": "AdamW", "schedule": "cosine with warm-up"}
    refused = ", ".join(f"{reason} {count}" for reason, count in info["refused"].items()) or "none"
    return environment.get_template(template).render(
        run=config.run, info=info, options=options, refused=refused, **values
    )
