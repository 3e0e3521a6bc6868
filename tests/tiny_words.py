"""Tokenizers of other kinds than the mini model's: small vocabularies in the classes of the published families."""

from __future__ import annotations

import string
from typing import Any

from mmprm.mini import base_model
from mmprm.model import hf_env

_WHOLE = ("Yes", "No", "user", "assistant")  # each a piece of its own, and another one with a space before it


def _pieces() -> tuple[list[str], list[str], list[tuple[str, str]]]:
    """Bytes, characters, and merges that build each of _WHOLE and then the same after a space."""
    characters = [*string.printable.strip(), "▁", "\n"]
    merges: list[tuple[str, str]] = []
    for word in _WHOLE:
        merges += [(word[:end], word[end]) for end in range(1, len(word))] + [("▁", word)]
    return [f"<0x{byte:02X}>" for byte in range(256)], characters, merges


def llama(specials: tuple[str, ...] = base_model.SPECIALS) -> Any:
    """A Llama tokenizer, as of InternVL2.5-2B and 8B: "Yes" is encoded as the piece "▁Yes", and "Yes" is another one.

    All other text is single characters.
    """
    hf_env.prepare()
    from transformers import LlamaTokenizer

    numbered, characters, merges = _pieces()
    vocabulary = ["<unk>", "<s>", "</s>", *numbered, *characters, *("".join(pair) for pair in merges)]
    names = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    words = LlamaTokenizer(
        vocab={piece: index for index, piece in enumerate(vocabulary)},
        merges=merges,
        pad_token="</s>",
        model_max_length=2048,
        extra_special_tokens=names | {"video_token": "<video>"},
    )
    words.add_tokens(list(specials), special_tokens=True)
    words.eos_token = "<|im_end|>"
    return words


def gemma() -> Any:
    """A Gemma tokenizer: no space is put before a text, each space becomes "▁", and all else is single characters."""
    hf_env.prepare()
    from transformers import GemmaTokenizer

    numbered, characters, merges = _pieces()
    merges = [pair for pair in merges if pair[0] != "▁"] + [("\n" * n, "\n") for n in (1, 2, 3)]  # vLLM looks these up
    vocabulary = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *numbered, *characters, *("".join(m) for m in merges)]
    names = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    words = GemmaTokenizer(
        vocab={piece: index for index, piece in enumerate(vocabulary)},
        merges=merges,
        model_max_length=2048,
        extra_special_tokens=names,
    )
    words.add_tokens(["<start_of_turn>", "<end_of_turn>"], special_tokens=True)
    words.eos_token = "<end_of_turn>"
    return words
