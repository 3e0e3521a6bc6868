"""The files of a trained model beside its weights: losses, refusals, model card, manifest. Out: a complete folder."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2

from mmprm.config import Config
from mmprm.data import tables
from mmprm.hub.front_matter import model_front_matter
from mmprm.model import folders
from mmprm.model.step_text import NEEDS_IMAGES
from mmprm.runtime.log import log
from mmprm.training.examples import ExampleRefusal, check_refusals, count_reasons
from mmprm.training.loop import TrainResult


def write_refusals(out: Path, refusals: Sequence[ExampleRefusal], total: int, max_share: float, title: str) -> None:
    """Write out/refused.json: each row that was refused or cut; raise UserError if too many of `total` were."""
    tables.write_json(out / "refused.json", [asdict(refusal) for refusal in refusals])
    log.info(f"{title}: refused or cut: {count_reasons(refusals) or 'none'}")
    if skipped := count_reasons(refusals).get(NEEDS_IMAGES):
        log.warning(f"{title}: {skipped} of {total} rows have images, and the model reads text alone: they are skipped")
    check_refusals(refusals, total, max_share, f"training of {title}")


def finish(
    out: Path,
    work: Path,
    title: str,
    info: dict[str, Any],
    refusals: Sequence[ExampleRefusal],
    result: TrainResult,
    card: Callable[[dict[str, Any]], str],
) -> None:
    """Write losses.json, README.md and last manifest.json into `out`, and delete the training's files in `work`.

    info: what the manifest says of start, settings and data; the results are added to it.
    """
    info |= {"refused": count_reasons(refusals), "steps": result.steps, "final_loss": result.loss}
    info |= {"seconds": round(result.seconds, 1)} | ({"held_out_losses": result.held_out} if result.held_out else {})
    tables.write_json(out / "losses.json", result.history)
    tables.write_text(out / "README.md", card(info))
    folders.write_manifest(out, info)
    for leftover in ("checkpoints", "start", "examples"):
        shutil.rmtree(work / leftover, ignore_errors=True)
    log.info(f"{title}: {result.steps} updates in {result.seconds:.0f} s, loss {result.loss:.4f}")


def policy_card(config: Config, folder: Path, info: Mapping[str, Any]) -> str:
    """Write the card of a policy that was fine-tuned on step-tagged solutions."""
    sources = ", ".join(f"`{name}`" for name in config.policy.sources)
    options = info["config"]["policy"]["training"]
    front = model_front_matter(config, "policy", folders.reads_images(folder))
    names = {"base": config.policy.base.name, "sources": sources, "front": front}
    return render_card("training", "policy_card.md.jinja", config, info, options, **names)


def render_card(
    room: str, template: str, config: Config, info: Mapping[str, Any], training: Mapping[str, Any], **values: Any
) -> str:
    """Fill in a card's template, of the room `mmprm.{room}`. info: the manifest's; training: the options to list."""
    loader, undefined = jinja2.PackageLoader(f"mmprm.{room}", "."), jinja2.StrictUndefined
    templates = jinja2.Environment(loader=loader, undefined=undefined, trim_blocks=True, keep_trailing_newline=True)
    options = {**training, "seed": info["config"]["seed"], "optimizer": "AdamW", "schedule": "cosine with warm-up"}
    refused = ", ".join(f"{reason} {count}" for reason, count in info["refused"].items()) or "none"
    values |= {"run": config.run, "info": info, "options": options, "refused": refused}
    return templates.get_template(template).render(values)
