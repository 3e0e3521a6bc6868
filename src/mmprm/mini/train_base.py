"""Train the mini base model on its lessons. In: a seed. Out: `models/mini-base`, a Hugging Face folder.

The vision encoder learns first which digits stand where (vision_lesson). `snakemake mini_base` runs this, in about an
hour on two idle cores; the result is kept in the repository. A killed run continues from its checkpoint in `work`.
"""

import random
import shutil
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from mmprm.data import tables
from mmprm.mini import base_model, vision_lesson
from mmprm.mini.lessons import KINDS, Lesson, lesson
from mmprm.mini.vision_lesson import adamw, minutes_left, update, warmup_and_cosine
from mmprm.runtime.log import log

CYCLES = (2_400, 4_000, 8_000)  # the updates at which the cycles of the learning rate end
STEPS = CYCLES[-1]
BATCH = 48
PEAK = 1.5e-3  # learning rate of the first cycle; the others have two thirds of it
OTHERS = 0.3  # weight of tokens with several right replies, relative to those with one
WARMUP = 200
CHECKPOINT = 250  # updates between checkpoints
# From which update on, how often each kind of lesson is taught: reading, which judging needs; then facts and their
# use; then judging, more than producing, so that the model verifies better than it computes, as large models do.
CURRICULUM = (
    (0, {"read": 8, "judge_figure": 1, "compute": 1, "judge_facts": 2}),
    (700, {"read": 3, "judge_figure": 1, "compute": 4, "judge_facts": 2, "use": 2}),
    (1300, {"read": 1, "judge_figure": 4, "compute": 1, "judge_facts": 3, "use": 2, "use_figure": 1, "judge_use": 1}),
    (CYCLES[0], {"read": 1, "judge_figure": 4, "judge_facts": 1, "use": 1, "use_figure": 3, "judge_use": 5}),
    (
        CYCLES[1],
        {"read": 2, "judge_figure": 5, "compute": 3, "judge_facts": 2, "use": 1}
        | {"use_figure": 4, "judge_use": 4, "judge_plan": 4},
    ),
)


def collate(lessons: Sequence[Lesson], processor: Any) -> dict[str, Any]:
    """Collate lessons of one kind into token ids, mask, labels, checked labels (each [lessons, length]) and pixels.

    A label is -100 if the token is not learnt; a checked one also if there are several right replies.
    """
    import torch

    from mmprm.data.problem import decode_image

    tokenizer = processor.tokenizer
    expanded = "<img>" + "<IMG_CONTEXT>" * base_model.IMAGE_TOKENS + "</img>"
    texts, shifts = [], []
    for item in lessons:
        texts.append(item.text.replace("<IMG_CONTEXT>", expanded, 1))
        shifts.append(len(texts[-1]) - len(item.text))
    encoded = tokenizer(texts, padding=True, return_offsets_mapping=True, return_tensors="pt", padding_side="right")
    labels, checked = (torch.full_like(encoded["input_ids"], -100) for _ in range(2))
    for row, (item, shift) in enumerate(zip(lessons, shifts, strict=True)):
        start, end = encoded["offset_mapping"][row].T
        for spans, target in ((item.spans, labels), (item.checked, checked)):
            for first, last in spans:  # every span lies after the image
                chosen = (start >= first + shift) & (end <= last + shift) & (end > start)
                target[row, chosen] = encoded["input_ids"][row, chosen]
    batch = {name: encoded[name] for name in ("input_ids", "attention_mask")} | {"labels": labels, "checked": checked}
    if lessons[0].image is not None:
        images = [decode_image(item.image) for item in lessons if item.image is not None]
        batch["pixel_values"] = processor.image_processor(images, return_tensors="pt")["pixel_values"]
    return batch


def predictions(model: Any, batch: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Return (logits before each learnt token, these tokens, which of them are checked)."""
    inputs = {name: value for name, value in batch.items() if name not in ("labels", "checked")}
    hidden = model.model(**inputs).last_hidden_state[:, :-1]
    tokens, checked = batch["labels"][:, 1:], batch["checked"][:, 1:]
    chosen = tokens != -100
    return model.lm_head(hidden[chosen]), tokens[chosen], checked[chosen] != -100


def _loss(model: Any, batch: dict[str, Any]) -> Any:
    """Return the mean cross-entropy of the checked tokens plus OTHERS times that of the more numerous other ones."""
    from torch.nn.functional import cross_entropy

    logits, tokens, checked = predictions(model, batch)
    each = cross_entropy(logits, tokens, reduction="none")
    return each[checked].mean() + OTHERS * each[~checked].sum() / max(1, int((~checked).sum()))


def measure(model: Any, processor: Any, count: int = 96, seed: int = 1) -> dict[str, float]:
    """Return the share of checked tokens that the model predicts, by kind of lesson, on figures of the split dev."""
    import torch

    model.eval()
    result = {}
    with torch.no_grad():
        for kind in KINDS:
            rng = random.Random(f"measure/{seed}/{kind}")
            batch = collate([lesson(kind, "dev", rng) for _ in range(count)], processor)
            logits, tokens, checked = predictions(model, batch)
            result[kind] = (logits.argmax(-1) == tokens)[checked].float().mean().item()
    model.train()
    return result


def learning_rate(step: int) -> float:
    """Return the learning rate: cycles of warm-up and cosine, the later ones with two thirds of the first peak."""
    if step < CYCLES[0]:
        return PEAK * warmup_and_cosine(step, CYCLES[0] + 50, WARMUP)
    start, end = next(pair for pair in pairwise(CYCLES) if step < pair[1])
    return PEAK * 2 / 3 * warmup_and_cosine(step - start, end - start, 50)


def train(out: Path, work: Path, steps: int = STEPS, seed: int = 0) -> dict[str, float]:
    """Train for `steps` updates and write the model, its card and its manifest; return the result of `measure`."""
    import torch

    from mmprm.model import folders

    work.mkdir(parents=True, exist_ok=True)
    processor = base_model.processor(seed)
    model = base_model.model(processor.tokenizer, seed).train()
    vision_lesson.learn(model, processor, work, seed)
    weights = list(model.parameters())
    optimizer = adamw(weights, PEAK)
    checkpoint, first = work / "checkpoint.pt", 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"]
        log.info(f"continuing from step {first}")
    started = time.monotonic()
    for step in range(first, steps):
        if step == CYCLES[1]:
            optimizer = adamw(weights, PEAK)  # the last cycle starts with new optimizer states
        rng = random.Random(f"lessons/{seed}/{step}")
        mixture = [kinds for first_step, kinds in CURRICULUM if first_step <= step][-1]
        kind = rng.choices(list(mixture), list(mixture.values()))[0]
        batch = collate([lesson(kind, "sft", rng) for _ in range(BATCH)], processor)
        loss = _loss(model, batch)
        update(optimizer, loss, weights, learning_rate(step))
        if (step + 1) % CHECKPOINT == 0 or step + 1 == steps:
            learnt = " ".join(f"{name} {share:.3f}" for name, share in measure(model, processor).items())
            left = minutes_left(started, step + 1 - first, steps - step - 1)
            log.info(f"step {step + 1}/{steps} loss {loss.item():.3f} {learnt} {left:.0f} min left")
            with tables.replacing(checkpoint) as temporary:
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
                torch.save(state, temporary)
    shares = measure(model, processor, count=960, seed=2)
    shutil.rmtree(out, ignore_errors=True)
    base_model.save(out, model, processor)
    tables.write_text(out / "README.md", _card(steps, seed, shares))
    folders.write_manifest(out, {"stage": "mini_base", "steps": steps, "seed": seed, "dev": shares})
    checkpoint.unlink(missing_ok=True)
    return shares


def _card(steps: int, seed: int, shares: dict[str, float]) -> str:
    rows = "\n".join(f"| {kind} | {share:.1%} |" for kind, share in shares.items())
    return f"""---
library_name: transformers
pipeline_tag: image-text-to-text
---
# mini-base

The base model of mmprm's mini world: an `InternVLForConditionalGeneration` of about 1.6 million parameters with a
byte-level tokenizer, trained from random weights by `snakemake mini_base`: {steps} updates of {BATCH} lessons,
seed {seed}.
Its vision encoder first learnt which digits stand where in a figure. Then it was taught to read drawn figures
(`read`), single facts of arithmetic (`compute`), single operations on quantities that were named before (`use`) or
read (`use_figure`), and to tell a right single statement from a wrong one in plain question and answer:
by a figure (`judge_figure`), by arithmetic (`judge_facts`), by what its names stand for (`judge_use`) and by what is
asked (`judge_plan`). No lesson has a step tag, a `<prm>` marker or a problem (figure and question) of the splits
seeds, dev, test or sealed, and none has a solution to write; the operations that are right in a `judge_plan` lesson
are, in order, those of one way to its answer.

Share of values and judgements predicted rightly on figures of the split dev:

| lesson | right |
|---|---|
{rows}

It knows nothing else: it is a test bench for the workflow, not a useful model.
"""
