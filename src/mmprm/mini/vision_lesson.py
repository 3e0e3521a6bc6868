"""Teach the vision encoder of the mini base model which digits stand where. In: drawn figures. Out: trained weights.

A linear head on the features of each image token names the first two digits whose centres lie in that token's square;
it is discarded afterwards. Taught through the language model alone, the encoder learns nothing in ten times the time.
"""

import math
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmprm.data import tables
from mmprm.mini.base_model import IMAGE_TOKENS
from mmprm.mini.drawing import SIZE, Canvas
from mmprm.mini.families import FAMILIES
from mmprm.mini.splits import draw_lesson_task
from mmprm.runtime.log import log

STEPS, WARMUP = 2_000, 50
BATCH = 48
PEAK = 3e-3
DIGITS = 2  # that are named in each square, from left to right
CLASSES = 11  # no digit, 0 to 9


def warmup_and_cosine(step: int, steps: int, warmup: int) -> float:
    """Return the factor of the learning rate: linear warm-up, then a cosine down to a fiftieth."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def adamw(weights: Sequence[Any], learning_rate: float) -> Any:
    """Make the optimizer of the mini model's lessons."""
    import torch

    return torch.optim.AdamW(weights, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.02)


def update(optimizer: Any, loss: Any, weights: Sequence[Any], learning_rate: float) -> None:
    """Do one update of the weights, with gradients clipped to norm 1."""
    import torch

    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    loss.backward()
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()
    optimizer.zero_grad()


def minutes_left(started: float, done: int, left: int) -> float:
    """Estimate the minutes for the updates that are left, by those done since `started` (time.monotonic)."""
    return (time.monotonic() - started) / done * left / 60


def squares(canvas: Canvas) -> list[list[int]]:
    """Return for each image token, row by row, the classes of its first two digits: 0 for none, else digit + 1."""
    side = math.isqrt(IMAGE_TOKENS)
    classes: list[list[int]] = [[] for _ in range(IMAGE_TOKENS)]
    for character, x, y in canvas.characters:
        if character.isdigit():
            column, row = (min(side - 1, max(0, int(position * side / SIZE))) for position in (x, y))
            classes[row * side + column].append(int(character) + 1)
    return [(digits + [0] * DIGITS)[:DIGITS] for digits in classes]


def _batch(processor: Any, rng: random.Random) -> tuple[Any, Any]:
    import torch

    families = (rng.choice(list(FAMILIES)) for _ in range(BATCH))
    canvases = [FAMILIES[name].draw(draw_lesson_task(name, "sft", rng).readings, rng) for name in families]
    pixels = processor.image_processor([canvas.image for canvas in canvases], return_tensors="pt")["pixel_values"]
    return pixels, torch.tensor([squares(canvas) for canvas in canvases])


def learn(model: Any, processor: Any, work: Path, seed: int) -> None:
    """Train the vision encoder and the projector of `model` in place, or load them from `work` if they are there."""
    import torch
    from safetensors.torch import load_file, save_file

    parts = {name: weight for name, weight in model.named_parameters() if "language_model" not in name}
    done = work / "sight.safetensors"
    if done.exists():
        saved = load_file(done)
        with torch.no_grad():
            for name, weight in parts.items():
                weight.copy_(saved[name])
        return
    torch.manual_seed(seed)
    head = torch.nn.Linear(model.config.text_config.hidden_size, DIGITS * CLASSES)
    weights = [*parts.values(), *head.parameters()]
    optimizer, started = adamw(weights, PEAK), time.monotonic()
    for step in range(STEPS):
        pixels, digits = _batch(processor, random.Random(f"sight/{seed}/{step}"))
        features = model.model.get_image_features(pixel_values=pixels).pooler_output
        logits = head(features).unflatten(-1, (DIGITS, CLASSES))
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, -2), digits.flatten())
        update(optimizer, loss, weights, PEAK * warmup_and_cosine(step, STEPS, WARMUP))
        if (step + 1) % 100 == 0 or step + 1 == STEPS:
            right = (logits.argmax(-1) == digits)[digits > 0].float().mean().item()
            left = minutes_left(started, step + 1, STEPS - step - 1)
            log.info(f"sight {step + 1}/{STEPS} loss {loss.item():.3f} digits {right:.3f} {left:.0f} min left")
    with tables.replacing(done) as temporary:
        save_file({name: weight.detach() for name, weight in parts.items()}, temporary)
