"""P(yes) at every marker of many paths, in padded batches. In: a PRM folder, (problem, steps, answer). Out: lists.

The same numbers as `scoring.TransformersScorer` (a test), several times as fast: what development data needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmprm import models
from mmprm.problem import Problem
from mmprm.solution import MARKER, NO, YES, Renderer, control_ids
from mmprm.training import data

Item = tuple[Problem, tuple[str, ...], str | None]


def score(
    folder: Path, items: Sequence[Item], instruction: str, dtype: str = "auto", batch_size: int = 32
) -> list[list[float]]:
    """P(yes) after each step and the answer of each item. Equal items are scored once."""
    import torch

    processor = models.load_processor(folder)
    device = models.device()
    model = models.load_model(folder, models.working_dtype(dtype, device), device)
    ids = control_ids(processor.tokenizer)
    renderer = Renderer(processor, instruction)
    texts = [renderer.marked(*item) for item in items]
    distinct = {(item[0].problem_id, text): item for item, text in zip(items, texts, strict=True)}
    examples = []
    tokenised = data.tokenise(processor, [text for _, text in distinct], [item[0].images for item in distinct.values()])
    for item, tokens in zip(distinct.values(), tokenised, strict=True):
        marks = np.where(tokens["input_ids"] == ids[MARKER], 1.0, data.IGNORE).astype(np.float32)
        examples.append(data.Example(item[0].problem_id, tokens, marks, item[0].images))

    collate = data.Collator(processor, shift=0)
    scored: dict[int, list[float]] = {}
    by_length = sorted(range(len(examples)), key=lambda index: -examples[index].length)
    for first in range(0, len(by_length), batch_size):
        rows = by_length[first : first + batch_size]
        batch = collate([[(row, examples[row]) for row in rows]])
        marked = (batch.pop("labels") != data.IGNORE)[:, batch["logits_to_keep"]]
        batch.pop("examples")
        inputs = {name: values.to(device) for name, values in batch.items()}
        with torch.inference_mode():
            logits = model(**inputs).logits[..., [ids[NO], ids[YES]]]
        p = logits.double().softmax(dim=-1)[..., 1].cpu()
        for row, values, mask in zip(rows, p, marked, strict=True):
            scored[row] = values[mask].tolist()
    place = {key: index for index, key in enumerate(distinct)}
    return [scored[place[item[0].problem_id, text]] for item, text in zip(items, texts, strict=True)]
