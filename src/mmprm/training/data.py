"""Token sequences with labels, and micro-batches of them. In: problems and texts. Out: Examples; the model's inputs.

Texts come from `solution.Renderer` alone and are tokenised whole, by the processor that scoring uses. Images stay
encoded until their micro-batch is put together.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmprm import models
from mmprm.errors import UserError

IGNORE = -100.0  # what Trainer, too, takes for "no loss here"
_CHUNK = 64  # texts a processor call: one at a time costs twice as much


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
class Refusal:
    """A row that is not trained on, and why; `excused` where that is no fault of the row, or a part of it is used."""

    problem_id: str
    reason: str
    detail: str
    excused: bool = False


@functools.lru_cache(maxsize=16)  # paths of one problem follow one another; real images may be large
def _decoded(image: bytes) -> Any:
    return models.decode_image(image)


def tokenise(
    processor: Any, texts: Sequence[str], images: Sequence[tuple[bytes, ...]]
) -> Iterator[dict[str, np.ndarray]]:
    """For each text, its tokens with the image placeholders expanded: arrays of shape (length,), by name.

    Texts of the same images begin alike up to the last of them, as a problem's do: only the first is processed with
    its images, where they follow one another (`_Opening`); one that begins in another way is processed, too.
    """
    openings: dict[tuple[bytes, ...], _Opening] = {}
    for start in range(0, len(texts), _CHUNK):
        part = range(start, min(start + _CHUNK, len(texts)))
        encoded = processor.tokenizer([texts[index] for index in part], add_special_tokens=False)["input_ids"]
        words = {index: np.asarray(ids, dtype=np.int64) for index, ids in zip(part, encoded, strict=True)}
        first = {images[index]: index for index in reversed(part) if images[index] not in openings}
        whole = [index for index in part if not images[index] or first.get(images[index]) == index]
        found = _processed(processor, texts, images, whole)
        openings |= {row: _Opening.of(words[index], found[index]) for row, index in first.items() if row}
        for index in part:
            if index not in found and (begun := openings[images[index]].before(words[index])):
                found[index] = begun
        found |= _processed(processor, texts, images, [index for index in part if index not in found])
        yield from (found[index] for index in part)
        openings = {row: opening for row, opening in openings.items() if row == images[part[-1]]}


def _processed(
    processor: Any, texts: Sequence[str], images: Sequence[tuple[bytes, ...]], chosen: Sequence[int]
) -> dict[int, dict[str, np.ndarray]]:
    """The tokens of the chosen texts (indices), by the processor itself."""
    if not chosen:
        return {}
    pictures = [_decoded(image) for index in chosen for image in images[index]]
    encoded = processor(
        text=[texts[index] for index in chosen], images=pictures or None, text_kwargs={"add_special_tokens": False}
    )
    return {
        index: {
            name: np.asarray(values[row], dtype=np.int64)
            for name, values in encoded.items()
            if name != "attention_mask" and _one_a_token(values, row, len(encoded["input_ids"][row]))
        }
        for row, index in enumerate(chosen)
    }


@dataclass(frozen=True)
class _Opening:
    """A text up to its last image: its tokens without the expansion, and with it; and what the arrays hold after it.

    rest: a value for each array but input_ids; None where the array is not the same all through.
    """

    words: np.ndarray
    tokens: dict[str, np.ndarray]
    rest: dict[str, int | None]

    @classmethod
    def of(cls, words: np.ndarray, tokens: dict[str, np.ndarray]) -> _Opening:
        """words: the text's tokens by the tokenizer alone; tokens: by the processor."""
        ids = tokens["input_ids"]
        alike = common_prefix(words, ids)
        shortest = min(len(words), len(ids)) - alike
        after = common_prefix(words[::-1][:shortest], ids[::-1][:shortest])  # all that is expanded stands before
        end = len(ids) - after
        rest = {name: values[end:] for name, values in tokens.items() if name != "input_ids"}
        constant = {name: int(tail[0]) if len(set(tail.tolist())) == 1 else None for name, tail in rest.items()}
        return cls(words[: len(words) - after], cut(tokens, end), constant)

    def before(self, words: np.ndarray) -> dict[str, np.ndarray] | None:
        """The tokens of another text of the same images; None where it does not begin alike."""
        n = len(self.words)
        if not np.array_equal(words[:n], self.words) or None in self.rest.values():
            return None
        after = words[n:]
        rest = {name: np.full(len(after), value, dtype=np.int64) for name, value in self.rest.items()}
        return {name: np.concatenate([values, rest.get(name, after)]) for name, values in self.tokens.items()}


def common_prefix(a: np.ndarray, b: np.ndarray) -> int:
    """How many first entries (rows, where there are columns) two arrays have in common."""
    n = min(len(a), len(b))
    unequal = a[:n] != b[:n]
    differing = np.flatnonzero(unequal if unequal.ndim == 1 else unequal.any(axis=1))
    return int(differing[0]) if len(differing) else n


def _one_a_token(values: Any, index: int, length: int) -> bool:
    row = values[index] if isinstance(values, list) and index < len(values) else None
    return isinstance(row, list) and len(row) == length and isinstance(row[0], int)


def cut(tokens: dict[str, np.ndarray], length: int) -> dict[str, np.ndarray]:
    """The first `length` tokens."""
    return {name: values[:length] for name, values in tokens.items()}


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
        batch: dict[str, Any] = self.images([example.images for example in examples], examples[0].tokens)
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

    def images(self, images: Sequence[tuple[bytes, ...]], tokens: Collection[str]) -> dict[str, Any]:
        """What the model takes beside `tokens` (names of arrays): pixel values, and grids where the family has them."""
        pictures = [_decoded(image) for row in images for image in row]
        if not pictures:
            return {}
        text = [self.processor.image_token * len(row) for row in images if row]
        encoded = self.processor(text=text, images=pictures, padding=True, return_tensors="pt")
        texts = set(self.processor.tokenizer.model_input_names) | set(tokens)
        return {name: values for name, values in encoded.items() if name not in texts}


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


def reasons(refused: Sequence[Refusal]) -> dict[str, int]:
    """How many rows were refused or cut, by reason."""
    return dict(sorted(Counter(refusal.reason for refusal in refused).items()))


def bound_refusals(refused: Sequence[Refusal], total: int, most: float, what: str) -> None:
    """UserError where more than the share `most` of `total` rows was refused (excused ones are not counted)."""
    whole = [refusal for refusal in refused if not refusal.excused]
    if total == 0 or len(whole) > most * total or len(whole) == total:
        first = f"; the first: {whole[0].problem_id}: {whole[0].detail}" if whole else ""
        raise UserError(
            f"{what}: {len(whole)} of {total} rows cannot be trained on {reasons(whole)}{first}. Mend the rows, "
            f"or raise intake.max_refused_share (now {most})"
        )
