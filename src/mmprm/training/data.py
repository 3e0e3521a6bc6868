"""Token sequences with labels, and micro-batches of them.

In: tokens, as `mmprm.model.tokens` makes them, and labels. Out:
Examples; the model's inputs. Images stay encoded until their micro-batch is put together.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmprm.model.tokens import image_inputs
from mmprm.runtime.errors import UserError

IGNORE = -100.0  # what Trainer, too, takes for "no loss here"


@dataclass(frozen=True)
class Example:
    """One sequence. `tokens` holds input_ids and whatever else the processor gives a token; `labels` one a token.

    trials: of how many rollouts each label is the mean, where the loss needs to know (1 where there is no label).
    """

    problem_id: str
    tokens: dict[str, np.ndarray]
    labels: np.ndarray
    images: tuple[bytes, ...]
    trials: np.ndarray | None = None

    @property
    def length(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ExampleRefusal:
    """A row that is not trained on, and why; `excused` where that is no fault of the row, or a part of it is used."""

    problem_id: str
    reason: str
    detail: str
    excused: bool = False


class MicroBatches:
    """The planned micro-batches as a torch dataset: item i is a list of (index, Example)."""

    def __init__(self, examples: Sequence[Example], plan: Sequence[Sequence[int]]) -> None:
        self.examples, self.plan = examples, plan

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, item: int) -> list[tuple[int, Example]]:
        return [(max(index, ~index), self._example(index)) for index in self.plan[item]]

    def _example(self, index: int) -> Example:
        if index >= 0:
            return self.examples[index]
        example = self.examples[~index]
        return dataclasses.replace(example, labels=np.full_like(example.labels, IGNORE))


class Collator:
    """Pads a micro-batch on the right, and prepares its images.

    Out: the model's inputs; `labels` (batch, length); `logits_to_keep`, the positions (in any row) whose logits the
    loss needs; `examples`, the indices of the rows. A label stands at the position whose logits it is compared with,
    `shift` tokens before the token that it names (1: the next token; 0: the marker itself).
    """

    def __init__(self, processor: Any, shift: int) -> None:
        self.processor, self.shift = processor, shift
        self.pad = processor.tokenizer.pad_token_id
        if self.pad is None:
            raise UserError(f"the tokenizer {processor.tokenizer.name_or_path!r} has no padding token: set one")

    def __call__(self, items: Sequence[Sequence[tuple[int, Example]]]) -> dict[str, Any]:
        import torch

        rows = [row for item in items for row in item]
        examples = [example for _, example in rows]
        batch: dict[str, Any] = image_inputs(
            self.processor, [example.images for example in examples], examples[0].tokens
        )
        shape = (len(examples), max(example.length for example in examples))
        for name in examples[0].tokens:
            values = torch.full(shape, self.pad if name == "input_ids" else 0, dtype=torch.long)
            for row, example in enumerate(examples):
                values[row, : example.length] = torch.from_numpy(example.tokens[name])
            batch[name] = values
        labels = torch.full(shape, IGNORE, dtype=torch.float32 if self.shift == 0 else torch.long)
        mask = torch.zeros(shape, dtype=torch.long)
        for row, example in enumerate(examples):
            target = torch.from_numpy(example.labels)[self.shift :].to(labels.dtype)
            labels[row, : len(target)] = target
            mask[row, : example.length] = 1
        if examples[0].trials is not None:
            batch["trials"] = torch.ones(shape)
            for row, example in enumerate(examples):
                batch["trials"][row, : example.length] = torch.from_numpy(example.trials)
        batch["attention_mask"] = mask
        batch["labels"] = labels
        batch["logits_to_keep"] = kept_positions(labels)
        batch["examples"] = torch.tensor([index for index, _ in rows])
        return batch


def kept_positions(labels: Any) -> Any:
    """The columns of `labels` (batch, length) that hold any label, in order: shape (kept,)."""
    return (labels != IGNORE).any(dim=0).nonzero()[:, 0]


def digest(examples: Sequence[Example], plan: Sequence[Sequence[int]]) -> str:
    """A hash of all that the training will read, so that a checkpoint of other data is never resumed."""
    whole = hashlib.sha256()
    for example in examples:
        whole.update(example.problem_id.encode())
        for name in sorted(example.tokens):
            whole.update(example.tokens[name].tobytes())
        whole.update(example.labels.tobytes())
        if example.trials is not None:
            whole.update(example.trials.tobytes())
        for image in example.images:
            whole.update(image)
    whole.update(repr(plan).encode())
    return whole.hexdigest()[:32]


def reasons(refused: Sequence[ExampleRefusal]) -> dict[str, int]:
    """How many rows were refused or cut, by reason."""
    return dict(sorted(Counter(refusal.reason for refusal in refused).items()))


def bound_refusals(refused: Sequence[ExampleRefusal], total: int, most: float, what: str) -> None:
    """UserError where more than the share `most` of `total` rows was refused (excused ones are not counted)."""
    whole = [refusal for refusal in refused if not refusal.excused]
    if total == 0 or len(whole) > most * total or len(whole) == total:
        first = f"; the first: {whole[0].problem_id}: {whole[0].detail}" if whole else ""
        raise UserError(
            f"{what}: {len(whole)} of {total} rows cannot be trained on {reasons(whole)}{first}. Mend the rows, "
            f"or raise intake.max_refused_share (now {most})"
        )
