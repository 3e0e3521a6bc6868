"""Labelled token sequences. In: tokens, as `mmprm.model.tokens` makes them, and labels. Out: Examples."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmprm.model.step_text import NEEDS_IMAGES
from mmprm.runtime.errors import UserError

IGNORE = -100.0  # the label that transformers, too, reads as "no loss here"


@dataclass(frozen=True)
class Example:
    """One sequence: `tokens` holds input_ids and the processor's other per-token arrays; `labels` has one per token.

    images: encoded. trials: how many rollouts each label is the mean of, for a loss that needs it (1 if no label).
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
    """A row that is not trained on, and why; `excused` if the row is not at fault, or a part of it is used."""

    problem_id: str
    reason: str
    detail: str
    excused: bool = False


def labelled_positions(labels: Any) -> Any:
    """Return the columns of `labels` (batch, length) that hold any label, in order: shape (columns,)."""
    return (labels != IGNORE).any(dim=0).nonzero()[:, 0]


def images_digest(images: Sequence[bytes]) -> bytes:
    """Hash the images of an example."""
    sha = hashlib.sha256()
    for image in images:
        sha.update(len(image).to_bytes(8, "big"))
        sha.update(image)
    return sha.digest()


def example_digest(example: Example, images: bytes | None = None) -> bytes:
    """Hash an example (16 bytes); `images`: their digest, if it is known."""
    sha = hashlib.sha256(example.problem_id.encode() + b"\x00")
    for name in sorted(example.tokens):
        sha.update(name.encode() + example.tokens[name].tobytes())
    sha.update(example.labels.dtype.str.encode() + example.labels.tobytes())
    if example.trials is not None:
        sha.update(example.trials.tobytes())
    sha.update(images_digest(example.images) if images is None else images)
    return sha.digest()[:16]


def digest(digests: Iterable[bytes], updates: Iterable[Sequence[int]]) -> str:
    """Hash all that a training reads, by its examples' digests, so that a checkpoint of other data is never resumed."""
    sha = hashlib.sha256()
    for each in digests:
        sha.update(each)
    for update in updates:
        sha.update(np.asarray(update, dtype=np.int64).tobytes() + b"\x00")
    return sha.hexdigest()[:32]


def digest_of_release_before(examples: Sequence[Example], updates: Sequence[Sequence[int]]) -> str:
    """Hash the same as 0.1 did: every byte of every example, which takes hours where there are millions."""
    sha = hashlib.sha256()
    for example in examples:
        sha.update(example.problem_id.encode())
        for name in sorted(example.tokens):
            sha.update(example.tokens[name].tobytes())
        sha.update(example.labels.tobytes())
        if example.trials is not None:
            sha.update(example.trials.tobytes())
        for image in example.images:
            sha.update(image)
    sha.update(repr([list(update) for update in updates]).encode())
    return sha.hexdigest()[:32]


def count_reasons(refusals: Sequence[ExampleRefusal]) -> dict[str, int]:
    """Count the rows that were refused or cut, by reason."""
    return dict(sorted(Counter(refusal.reason for refusal in refusals).items()))


def without_images(problem_id: str, detail: str = "") -> ExampleRefusal:
    """Return the refusal of a row with images, of which a model that reads text alone learns nothing."""
    text = f"{detail}it has an image, and the model reads text alone"
    return ExampleRefusal(problem_id, NEEDS_IMAGES, text, excused=True)


def check_readable(refusals: Sequence[ExampleRefusal], total: int, title: str) -> int:
    """Return how many of `total` rows a model that reads text alone is not shown; UserError if that is all of them."""
    skipped = sum(refusal.reason == NEEDS_IMAGES for refusal in refusals)
    if skipped and skipped == total:
        raise UserError(
            f"{title}: all {total} rows have images, and the model reads text alone: take sources without images, or a "
            "vision-language model as policy.base"
        )
    return skipped


def check_refusals(refusals: Sequence[ExampleRefusal], total: int, max_share: float, title: str) -> None:
    """Raise UserError if more than the share `max_share` of `total` rows was refused, not counting excused ones.

    Rows that need images, which the model does not read, are no part of `total` here.
    """
    total -= check_readable(refusals, total, title)
    counted = [refusal for refusal in refusals if not refusal.excused]
    if total == 0 or len(counted) > max_share * total or len(counted) == total:
        first = f"; the first: {counted[0].problem_id}: {counted[0].detail}" if counted else ""
        todo = f"Fix the rows, or raise intake.max_refused_share (now {max_share})"
        reasons = count_reasons(counted)
        raise UserError(f"{title}: {len(counted)} of {total} rows cannot be trained on {reasons}{first}. {todo}")
