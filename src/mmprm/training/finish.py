"""The files of a trained model beside its weights. In: a training's result and refusals. Out: a complete folder."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmprm.data import tables
from mmprm.model import folders
from mmprm.runtime.log import log
from mmprm.training.examples import ExampleRefusal, check_refusals, count_reasons
from mmprm.training.loop import TrainResult


def write_refusals(out: Path, refusals: Sequence[ExampleRefusal], total: int, max_share: float, title: str) -> None:
    """Write out/refused.json: each row that was refused or cut; raise UserError if too many of `total` were."""
    tables.write_json(out / "refused.json", [asdict(refusal) for refusal in refusals])
    log.info(f"{title}: refused or cut: {count_reasons(refusals) or 'none'}")
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
