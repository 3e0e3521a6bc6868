"""Texts with images as the tokens that a model reads, and their positions. In: texts, encoded images. Out: arrays.

Texts come only from `step_text.Renderer`, and are tokenised as a whole, by the same processor in training and scoring.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmprm.data.problem import decode_image, image_size
from mmprm.model.image_tokens import image_tokens, processor_tokens
from mmprm.runtime.errors import UserError

_CHUNK = 64  # texts per processor call: one at a time takes twice as long

# The values of model_type whose get_rope_index takes the arguments of `rope_positions`; each is tested.
ROPE_FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")


@functools.lru_cache(maxsize=16)  # paths of one problem are consecutive; real images may be large
def _decoded(image: bytes) -> Any:
    return decode_image(image)


@functools.lru_cache(maxsize=16)
def _size(image: bytes) -> tuple[int, int]:
    return image_size(image)


def tokenise(
    processor: Any, texts: Sequence[str], images: Sequence[tuple[bytes, ...]]
) -> Iterator[dict[str, np.ndarray]]:
    """Yield each text's tokens, with the image placeholders expanded: arrays of shape (length,), by name.

    No pixels are made where the images' sizes tell their tokens (`image_tokens`). Else, of consecutive texts with the
    same images only the first, and any that begins differently, is processed with them.
    """
    openings: dict[tuple[bytes, ...], _Opening] = {}
    for start in range(0, len(texts), _CHUNK):
        part = range(start, min(start + _CHUNK, len(texts)))
        encoded = processor.tokenizer([texts[index] for index in part], add_special_tokens=False)["input_ids"]
        words = {index: np.asarray(ids, dtype=np.int64) for index, ids in zip(part, encoded, strict=True)}
        tokens = _by_sizes(processor, words, images)
        left = [index for index in part if index not in tokens]
        first = {images[index]: index for index in reversed(left) if images[index] not in openings}
        full = [index for index in left if not images[index] or first.get(images[index]) == index]
        tokens |= _processed(processor, texts, images, full)
        openings |= {key: _Opening.of(words[index], tokens[index]) for key, index in first.items() if key}
        for index in part:
            if index not in tokens and (extended := openings[images[index]].extended(words[index])):
                tokens[index] = extended
        tokens |= _processed(processor, texts, images, [index for index in part if index not in tokens])
        yield from (tokens[index] for index in part)
        openings = {key: opening for key, opening in openings.items() if key == images[part[-1]]}


def _by_sizes(
    processor: Any, words: Mapping[int, np.ndarray], images: Sequence[tuple[bytes, ...]]
) -> dict[int, dict[str, np.ndarray]]:
    """Return the tokens of those texts with images whose sizes tell them."""
    found = {}
    for index, ids in words.items():
        if images[index]:
            tokens = image_tokens(processor).expand(processor, ids, [_size(image) for image in images[index]])
            if tokens is not None:
                found[index] = tokens
    return found


def _processed(
    processor: Any, texts: Sequence[str], images: Sequence[tuple[bytes, ...]], chosen: Sequence[int]
) -> dict[int, dict[str, np.ndarray]]:
    """Return the tokens of the chosen texts (indices), by the processor itself."""
    if not chosen:
        return {}
    without = [index for index in chosen if not images[index]]
    if 0 < len(without) < len(chosen):  # some processors refuse texts without an image beside those that have one
        pictured = [index for index in chosen if images[index]]
        return _processed(processor, texts, images, without) | _processed(processor, texts, images, pictured)
    pictures = [[_decoded(image) for image in images[index]] for index in chosen]
    return dict(zip(chosen, processor_tokens(processor, [texts[index] for index in chosen], pictures), strict=True))


@dataclass(frozen=True)
class _Opening:
    """A text up to its last image: its tokens before and after expansion, and the arrays' values after it."""

    words: np.ndarray
    tokens: dict[str, np.ndarray]
    rest: dict[str, int | None]  # for each array but input_ids; None if it is not constant

    @classmethod
    def of(cls, words: np.ndarray, tokens: dict[str, np.ndarray]) -> _Opening:
        """Find the opening. words: the text's tokens by the tokenizer alone; tokens: by the processor."""
        ids = tokens["input_ids"]
        alike = common_prefix(words, ids)
        shortest = min(len(words), len(ids)) - alike
        after = common_prefix(words[::-1][:shortest], ids[::-1][:shortest])  # every expansion is before these
        end = len(ids) - after
        rest = {name: values[end:] for name, values in tokens.items() if name != "input_ids"}
        constant = {name: int(tail[0]) if len(set(tail.tolist())) == 1 else None for name, tail in rest.items()}
        return cls(words[: len(words) - after], cut(tokens, end), constant)

    def extended(self, words: np.ndarray) -> dict[str, np.ndarray] | None:
        """Return the tokens of another text with the same images; None if it begins differently."""
        n = len(self.words)
        if not np.array_equal(words[:n], self.words) or None in self.rest.values():
            return None
        after = words[n:]
        rest = {name: np.full(len(after), value, dtype=np.int64) for name, value in self.rest.items()}
        return {name: np.concatenate([values, rest.get(name, after)]) for name, values in self.tokens.items()}


def common_prefix(a: np.ndarray, b: np.ndarray) -> int:
    """Count the first entries (or rows of a matrix) that two arrays have in common."""
    n = min(len(a), len(b))
    unequal = a[:n] != b[:n]
    differing = np.flatnonzero(unequal if unequal.ndim == 1 else unequal.any(axis=1))
    return int(differing[0]) if len(differing) else n


def cut(tokens: dict[str, np.ndarray], length: int) -> dict[str, np.ndarray]:
    """Return the first `length` tokens."""
    return {name: values[:length] for name, values in tokens.items()}


def image_inputs(processor: Any, images: Sequence[tuple[bytes, ...]], tokens: Collection[str]) -> dict[str, Any]:
    """Return a model's inputs beside `tokens` (names of arrays) for the rows' images: pixel values, perhaps grids."""
    pictures = [[_decoded(image) for image in row] for row in images if row]
    if not pictures:
        return {}
    # Gemma's processor expands another token than the one that it expands to.
    placeholder = getattr(processor, "boi_token", None) or processor.image_token
    text = [placeholder * len(row) for row in images if row]
    encoded = processor(text=text, images=pictures, padding=True, return_tensors="pt")
    texts = set(processor.tokenizer.model_input_names) | set(tokens)
    return {name: values for name, values in encoded.items() if name not in texts}


def rope_index(model: Any) -> Callable[..., Any] | None:
    """Return get_rope_index of a model, or of the model within its adapters; None if positions are one-dimensional."""
    return next((part.get_rope_index for part in model.modules() if hasattr(part, "get_rope_index")), None)


def has_known_positions(model: Any) -> bool:
    """Return whether the model's position scheme is known: it counts tokens, or is one of ROPE_FAMILIES."""
    return rope_index(model) is None or model.config.model_type in ROPE_FAMILIES


def rope_positions(index: Callable[..., Any], tokens: Mapping[str, Any], grids: Any = None) -> Any:
    """Return the positions of one sequence without padding: (3, 1, length), time, row and column of each token.

    The text after an image continues from the largest (M-RoPE, arXiv 2409.12191, section 2.1). A model would read it
    with the `rope_deltas` of the sequence before. tokens: `input_ids` and `mm_token_type_ids`, (1, length) each;
    grids: (images, 3), None without images. Raises UserError if the processor does not mark the tokens of an image.
    """
    if "mm_token_type_ids" not in tokens:
        raise UserError(
            "the model's processor gives no mm_token_type_ids, which Qwen-VL's positions are computed from: remove "
            "return_mm_token_type_ids: false from its processor_config.json"
        )
    inputs = {name: tokens[name] for name in ("input_ids", "mm_token_type_ids")}
    return index(**inputs, image_grid_thw=grids)[0]
