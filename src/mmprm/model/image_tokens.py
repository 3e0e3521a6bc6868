"""What a processor writes in the place of an image, without pixels. In: an image's height and width. Out: tokens.

Making the tiles of one image of 800 x 600 pixels takes InternVL's processor half a second; how many tokens they become
is arithmetic over the size, which transformers has in each processor (`_get_num_multimodal_tokens`, made for vLLM). It
is not taken on trust: the processor is first given blank images of several sizes, and must give just these tokens.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Tokens = dict[str, np.ndarray]  # input_ids and a processor's other per-token arrays, each of shape (length,)
Size = tuple[int, int]  # height, width

_PROBES: tuple[Size, ...] = ((48, 48), (48, 144), (144, 96), (448, 600))  # InternVL: 1, 3, 6 and 12 tiles
_SIZES_KEPT = 1024  # of a processor that has to be asked for each size


def processor_tokens(processor: Any, texts: Sequence[str], pictures: Sequence[Sequence[Any]]) -> list[Tokens]:
    """Return the tokens of each text by the processor itself; `pictures`: each text's images (all have some, or none).

    A list of images for each text: Gemma's processor would take a flat one for a single text's.
    """
    given = [list(each) for each in pictures if each] or None
    encoded = processor(text=list(texts), images=given, text_kwargs={"add_special_tokens": False})
    return [
        {
            name: np.asarray(values[row], dtype=np.int64)
            for name, values in encoded.items()
            if name != "attention_mask" and _is_per_token(values, row, len(encoded["input_ids"][row]))
        }
        for row in range(len(texts))
    ]


def _is_per_token(values: Any, index: int, length: int) -> bool:
    row = values[index] if isinstance(values, list) and index < len(values) else None
    return isinstance(row, list) and len(row) == length and isinstance(row[0], int)


@dataclass(frozen=True)
class _Sample:
    """The tokens of an image by the processor, and for each array but input_ids its value at the tokens of a text."""

    tokens: Tokens
    of_text: dict[str, int]

    def resized(self, more: int) -> Tokens:
        """Return the tokens with the longest run of one token longer by `more`, or gone."""
        ids = self.tokens["input_ids"]
        bounds = np.flatnonzero(np.diff(ids, prepend=-1, append=-1))
        longest = int(np.diff(bounds).argmax())
        start, stop = int(bounds[longest]), int(bounds[longest + 1])
        parts = {name: (values[:start], values[start], values[stop:]) for name, values in self.tokens.items()}
        return {
            name: np.concatenate([a, np.full(max(0, stop - start + more), b), c]) for name, (a, b, c) in parts.items()
        }


class ImageTokens:
    """A processor's tokens for images by their sizes. Use `image_tokens`: it keeps what a processor was asked."""

    def __init__(self, processor: Any) -> None:
        self._placeholder = int(processor.tokenizer.convert_tokens_to_ids(processor.image_token))
        self._samples: dict[Size, _Sample | None] = {}
        # Where the arithmetic agrees with the processor: a sample of it, and its count.
        self._known: tuple[_Sample, int] | None = None
        samples = [self._sample(processor, size) for size in _PROBES]
        self._usable = None not in samples
        self._several = True
        self._several = self._usable and self._composes(processor, _PROBES[1:3])
        counts = [_count(processor, size) for size in _PROBES]
        first, n = samples[0], counts[0]
        if first is None or n is None:
            return
        for sample, count in zip(samples, counts, strict=True):
            if sample is None or count is None or not _equal(first.resized(count - n), sample.tokens):
                return
        self._known = first, n

    @property
    def counts_by_size(self) -> bool:
        """Whether no image has to be made to know its tokens, not even a blank one."""
        return self._known is not None

    def expand(self, processor: Any, words: np.ndarray, sizes: Sequence[Size]) -> Tokens | None:
        """Return the tokens of a text with images of these sizes; `words` are its tokens by the tokenizer alone.

        None if they cannot be known so: a processor whose tokens the tokenizer may join with the text around them, or
        which reads several images otherwise than each alone; a text with another number of placeholders. Then the
        processor has to be given the images.
        """
        places = np.flatnonzero(words == self._placeholder)
        if not self._usable or len(places) != len(sizes) or not sizes or (len(sizes) > 1 and not self._several):
            return None
        samples = [sample for sample in (self._of(processor, size) for size in sizes) if sample is not None]
        if len(samples) < len(sizes):
            return None
        parts: list[Tokens] = []
        start = 0
        for place, sample in zip(places.tolist(), samples, strict=True):
            parts += [_text(words[start:place], sample.of_text), sample.tokens]
            start = place + 1
        parts.append(_text(words[start:], samples[0].of_text))
        return {name: np.concatenate([part[name] for part in parts]) for name in samples[0].tokens}

    def _composes(self, processor: Any, sizes: Sequence[Size]) -> bool:
        """Return whether images of one text have the tokens of each alone: LLaVA-OneVision cuts only a single image."""
        from PIL import Image

        text = f"x{processor.image_token}" * len(sizes) + "x"
        words = np.asarray(processor.tokenizer([text], add_special_tokens=False)["input_ids"][0], dtype=np.int64)
        expected = self.expand(processor, words, sizes)
        try:
            (tokens,) = processor_tokens(processor, [text], [[Image.new("RGB", (w, h)) for h, w in sizes]])
        except Exception:  # as in _count
            return False
        return expected is not None and _equal(tokens, expected)

    def _of(self, processor: Any, size: Size) -> _Sample | None:
        count = _count(processor, size) if self._known else None
        if self._known is None or count is None:
            return self._sample(processor, size)
        sample, n = self._known
        return _Sample(sample.resized(count - n), sample.of_text)

    def _sample(self, processor: Any, size: Size) -> _Sample | None:
        if len(self._samples) > _SIZES_KEPT:
            self._samples.clear()
        if size not in self._samples:
            self._samples[size] = _ask(processor, size, self._placeholder)
        return self._samples[size]


_KEPT: weakref.WeakKeyDictionary[Any, ImageTokens] = weakref.WeakKeyDictionary()


def image_tokens(processor: Any) -> ImageTokens:
    """Return the processor's ImageTokens, made at the first call."""
    if processor not in _KEPT:
        _KEPT[processor] = ImageTokens(processor)
    return _KEPT[processor]


def _count(processor: Any, size: Size) -> int | None:
    """Return how many tokens an image of this size has by the processor's arithmetic; None if it has none."""
    try:
        return int(processor._get_num_multimodal_tokens(image_sizes=[size]).num_image_tokens[0])
    except Exception:  # each processor raises its own; given the image it says what is wrong
        return None


def _ask(processor: Any, size: Size, placeholder: int) -> _Sample | None:
    """Have the processor read a blank image between two words; None unless it stands apart from them."""
    from PIL import Image

    text = f"x{processor.image_token}x"
    words = np.asarray(processor.tokenizer([text], add_special_tokens=False)["input_ids"][0], dtype=np.int64)
    place = int((words == placeholder).argmax())
    after = len(words) - 1 - place
    try:
        (tokens,) = processor_tokens(processor, [text], [[Image.new("RGB", (size[1], size[0]))]])
    except Exception:  # as in _count
        return None
    if "input_ids" not in tokens:  # no list of lists: a processor that this project cannot read
        return None
    ids = tokens["input_ids"]
    end = len(ids) - after
    apart = np.array_equal(ids[:place], words[:place]) and np.array_equal(ids[end:], words[place + 1 :])
    outside = {name: {*values[:place].tolist(), *values[end:].tolist()} for name, values in tokens.items()}
    of_text = {name: values.pop() for name, values in outside.items() if name != "input_ids" and len(values) == 1}
    ends = [placeholder, *ids[place:end][[0, -1]].tolist()] if place < end else []
    if not apart or not ends or len(of_text) + 1 < len(tokens) or not _separate(processor.tokenizer, ends):
        return None
    return _Sample({name: values[place:end] for name, values in tokens.items()}, of_text)


def _separate(tokenizer: Any, ids: Sequence[int]) -> bool:
    """Return whether the tokenizer cuts a text at each of these tokens before it reads what is between."""
    added = [tokenizer.added_tokens_decoder.get(token) for token in ids]
    return all(
        token is not None and not (token.lstrip or token.rstrip or token.single_word or token.normalized)
        for token in added
    )


def _text(words: np.ndarray, of_text: dict[str, int]) -> Tokens:
    return {"input_ids": words} | {name: np.full(len(words), value, dtype=np.int64) for name, value in of_text.items()}


def _equal(one: Tokens, other: Tokens) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(values, other[name]) for name, values in one.items())
