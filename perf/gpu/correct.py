"""Is it right on the GPU? Losses, scores, and prefix trees, against the CPU in float32. In: a folder. Out: differences.

Nothing here is a copy: the package's own losses, layouts, scorers and attention run on both devices.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmprm.mini.problems import IN_DOMAIN, generate
from mmprm.model import folders
from mmprm.model.step_text import parse
from mmprm.prm.scorers import TransformersScorer, TreeScorer
from mmprm.prm.step_scores import Item
from mmprm.training.batches import lay_out
from mmprm.training.examples import IGNORE
from mmprm.training.losses import counts_loss, marker_loss, token_loss
from mmprm.training.train_policy import start_model
from perf.training import VOCABULARY, Batch, Group, model_of, padded, trees_of_shape

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]


class WrongError(Exception):
    """A difference is larger than rounding explains."""


def _require(found: Json, limits: dict[str, float]) -> Json:
    """Return what was found; WrongError if a difference exceeds its limit."""
    wrong = {name: found[name] for name, most in limits.items() if not found[name] <= most}
    if wrong:
        raise WrongError(f"{wrong} exceed {limits}; all: {found}")
    return found


def losses(work: Path, small: bool) -> Json:
    """Compare the three losses and their gradients with those on the CPU."""
    import torch

    device = folders.device()
    torch.manual_seed(0)
    batch, length, vocabulary = (2, 24, 64) if small else (4, 512, 92553)
    logits = 4 * torch.randn(batch, length, vocabulary)
    tokens = torch.randint(0, vocabulary, (batch, length)).masked_fill(torch.rand(batch, length) < 0.3, int(IGNORE))
    trials = torch.randint(1, 9, (batch, length)).double()
    shares = ((trials * torch.rand(batch, length)).round() / trials).masked_fill(tokens < 0, IGNORE)
    cases: dict[str, tuple[Callable[..., Any], Any, Json]] = {
        "tokens": (token_loss, tokens, {}),
        "markers": (marker_loss(1, 2), shares, {}),
        "counts": (counts_loss(1, 2, 3), shares, {"trials": trials}),
    }
    found: Json = {}
    for name, (loss_of, labels, more) in cases.items():
        columns = (labels != IGNORE).any(dim=0)

        def value(
            where: str, loss_of: Any = loss_of, labels: Any = labels, columns: Any = columns, more: Any = more
        ) -> Any:
            kept = logits[:, columns].to(where).requires_grad_()
            extra = {key: each.to(where) for key, each in more.items()}
            loss = loss_of(_Outputs(kept), labels.to(where), **extra)
            loss.backward()
            return loss.detach().cpu().double(), kept.grad.cpu().double()

        (loss, gradient), (expected, exact) = value(device), value("cpu")
        found[f"{name}_loss"] = float((loss - expected).abs() / expected.abs())
        found[f"{name}_gradient"] = float((gradient - exact).norm() / exact.norm())
    return _require(found, dict.fromkeys(found, 1e-5))


class _Outputs:
    """A model's outputs, of which the losses read the logits."""

    def __init__(self, logits: Any) -> None:
        self.logits = logits


def trees(work: Path, small: bool) -> Json:
    """Compare prefix trees, and packed paths, with the paths one by one on the CPU: probabilities, loss, a gradient.

    On CUDA FlexAttention's kernel is compiled. In bfloat16 they may be off by twice what the padded paths are off by
    there. On the CPU FlexAttention has no backward pass: the gradients are those of the CPU's own attention.
    """
    import torch

    device = folders.device()
    groups = trees_of_shape(2, 4 if small else 12, 3, 4 if small else 40, 30 if small else 500)
    apart = [[path] for group in groups for path in group]
    found: Json = {"kernel": "compiled" if device == "cuda" else "not compiled: no CUDA"}
    for key_heads in (8, 2):
        model = model_of(VOCABULARY, key_heads, 2 if small else 12)
        exact = _read(model, padded(groups), groups)
        # Autocast is how Trainer computes in bf16 without DeepSpeed: weights and sums in float32, products in bfloat16.
        for dtype in ("float32", "autocast", "bfloat16"):
            model = model.to(device, torch.bfloat16 if dtype == "bfloat16" else torch.float32)
            batches = {"trees": [lay_out(groups, device=device)], "packed": [lay_out(apart, device=device)]}
            with torch.autocast(device, torch.bfloat16, enabled=dtype == "autocast"):
                found |= _named("paths", dtype, key_heads, _read(model, padded(groups), groups), exact)
                for layout, laid in batches.items():
                    found |= _named(layout, dtype, key_heads, _read(model, laid, groups), exact)
                if device == "cpu":
                    with torch.no_grad():
                        read = _read(model, [lay_out(groups, device="cuda")], groups)
                    found |= _named("flex", dtype, key_heads, read, exact)
    limits = {name: 1e-3 for name in found if "float32" in name}
    for name in found:
        layout, _, rest = name.partition("_")
        if layout in ("trees", "packed", "flex") and not rest.startswith("float32"):
            limits[name] = 2 * float(found[f"paths_{rest}"]) + 1e-3
    return _require(found, limits)


def _read(model: Any, batches: Sequence[Batch], groups: Sequence[Group]) -> dict[str, Any]:
    """Return the sorted probabilities at the markers, the loss, and, unless gradients are off, one of a weight.

    In float64 on the CPU; sorted, because the layouts have the paths in differing orders.
    """
    import torch

    device = next(model.parameters()).device
    model.zero_grad()
    count = sum(int((path.labels != IGNORE).sum()) for group in groups for path in group)
    total, read = 0.0, []
    for batch in batches:
        inputs = to_device(batch, device)
        labels = inputs.pop("labels")
        outputs = model(**inputs, use_cache=False)
        loss = marker_loss(0, 1)(outputs, labels, num_items_in_batch=count)
        if torch.is_grad_enabled():
            loss.backward()
        total += float(loss.detach())
        known = labels[:, (labels != IGNORE).any(dim=0)] != IGNORE
        read.append(outputs.logits[..., [0, 1]].float().softmax(dim=-1)[..., 1][known].detach().double().cpu())
    found = {"probability": torch.cat(read).sort().values, "loss": torch.tensor(total, dtype=torch.float64)}
    if torch.is_grad_enabled():
        found["gradient"] = model.model.layers[0].self_attn.q_proj.weight.grad.double().cpu()
    return found


def _named(layout: str, dtype: str, key_heads: int, found: dict[str, Any], exact: dict[str, Any]) -> Json:
    """Return the differences of what a layout gave: the largest of a probability, relative ones of the others."""
    differences = {"probability": float((found["probability"] - exact["probability"]).abs().max())}
    for name in found.keys() - {"probability"}:
        differences[name] = float((found[name] - exact[name]).norm() / exact[name].norm())
    return {f"{layout}_{dtype}_{key_heads}_heads_{name}": value for name, value in sorted(differences.items())}


def to_device(values: Any, device: Any) -> Any:
    """Move the tensors of a batch, in containers too."""
    if isinstance(values, dict):
        return {name: to_device(value, device) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)(to_device(value, device) for value in values)
    return values.to(device) if hasattr(values, "to") else values


def scores(work: Path, small: bool) -> Json:
    """Compare the scores of the mini base, on trees and path by path, with those of another process on the CPU."""
    folder, theirs = start_model(ROOT / "models/mini-base", work / "mini"), work / "scores.json"
    folders.write_manifest(folder, {"stage": "perf"})
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "perf.gpu.correct", str(folder), str(theirs), "4" if small else "24"]
    subprocess.run(command, cwd=ROOT, env=hidden, check=True)
    exact = json.loads(theirs.read_text())
    found: Json = {"markers": len(exact)}
    kinds: dict[str, Callable[..., Any]] = {"trees": TreeScorer, "paths": TransformersScorer}
    for dtype in ("float32", "bfloat16"):
        for name, kind in kinds.items():
            values = _scored(kind(folder, dtype=dtype), 4 if small else 24)
            found[f"{name}_{dtype}"] = max(abs(a - b) for a, b in zip(values, exact, strict=True))
    return _require(
        found, {"trees_float32": 1e-4, "paths_float32": 1e-4, "trees_bfloat16": 5e-2, "paths_bfloat16": 5e-2}
    )


def _items(count: int) -> list[Item]:
    """Return right and wrong solutions of drawn problems."""
    drawn = generate("test", count, IN_DOMAIN, seed=0)
    solutions = [(problem, parse(problem.solution or "").steps) for problem in drawn]
    return [(problem, steps[:kept], "5") for problem, steps in solutions for kept in (2, len(steps))]


def _scored(scorer: Any, count: int) -> list[float]:
    values = [value for each in scorer.score(_items(count)) for value in each.probabilities]
    scorer.close()
    return values


if __name__ == "__main__":
    model_folder, file, number = sys.argv[1:]
    Path(file).write_text(
        json.dumps(_scored(TransformersScorer(Path(model_folder), dtype="float32"), int(number))), encoding="utf-8"
    )
