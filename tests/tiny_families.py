"""Untrained models of further families, with their own processors and tokenizer kinds, some 0.3 million parameters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import tiny_words

from mmprm.mini import base_model
from mmprm.model import folders, hf_env
from mmprm.model.text_processor import TextProcessor
from mmprm.model.weight_names import publish

_TEXT = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
_TEXT |= {"num_key_value_heads": 1, "head_dim": 32, "max_position_embeddings": 2048, "bos_token_id": None}
_VISION = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}


def _chat(image: str) -> str:
    return base_model.CHAT_TEMPLATE.replace("<IMG_CONTEXT>", image)


def _of(words: Any) -> dict[str, Any]:
    return {"vocab_size": len(words), "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}


def _gemma3() -> tuple[Any, Any]:
    """Images of 56 x 56 pixels, 4 tokens each; layers with a sliding window and without."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3ImageProcessor, Gemma3Processor

    words = tiny_words.gemma()
    # As the published template: no line break after the image (vLLM would not find the image's tokens beside one).
    template = _chat("<start_of_image>").replace("<start_of_image>{{ '\\n' }}", "<start_of_image>")
    template = template.replace("<|im_start|>", "<start_of_turn>").replace("<|im_end|>", "<end_of_turn>")
    both = Gemma3Processor(
        Gemma3ImageProcessor(size={"height": 56, "width": 56}),
        words,
        image_seq_length=4,
        chat_template=template,
    )
    config = Gemma3Config(
        text_config=_TEXT | _of(words) | {"sliding_window": 64, "layer_types": ["sliding_attention", "full_attention"]},
        vision_config=_VISION | {"image_size": 56, "patch_size": 14},
        mm_tokens_per_image=4,
        boi_token_index=words.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=words.convert_tokens_to_ids("<end_of_image>"),
        image_token_index=words.convert_tokens_to_ids("<image_soft_token>"),
        eos_token_id=words.eos_token_id,
    )
    return both, lambda: Gemma3ForConditionalGeneration(config)


_TILES: dict[str, Any] = {"size": {"longest_edge": 128}, "max_image_size": {"longest_edge": 64}}


def _idefics3() -> tuple[Any, Any]:
    """Images of at most 128 pixels a side, cut into tiles of 64, and the whole: 4 tokens a tile."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3ImageProcessor, Idefics3Processor

    words = _tile_words()
    eyes = Idefics3ImageProcessor(**_TILES)
    both = Idefics3Processor(eyes, words, image_seq_len=4, chat_template=_chat("<image>"))
    config = Idefics3Config(**_of_tiles(words))
    return both, lambda: Idefics3ForConditionalGeneration(config)


def _smolvlm() -> tuple[Any, Any]:
    """As Idefics3. Its processor is made here without num2words, which it demands and needs for videos alone."""
    from transformers import (
        SmolVLMConfig,
        SmolVLMForConditionalGeneration,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )
    from transformers.models.smolvlm import processing_smolvlm

    words = _tile_words()
    eyes, films = SmolVLMImageProcessor(**_TILES), SmolVLMVideoProcessor(**_TILES)
    with mock.patch.object(processing_smolvlm, "num2words", processing_smolvlm.num2words or str):
        both = SmolVLMProcessor(eyes, words, films, image_seq_len=4, chat_template=_chat("<image>"))
    config = SmolVLMConfig(**_of_tiles(words))
    return both, lambda: SmolVLMForConditionalGeneration(config)


def _tile_words() -> Any:
    rows = tuple(f"<row_{i + 1}_col_{j + 1}>" for i in range(6) for j in range(6))
    specials = ("<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>", *rows)
    return tiny_words.llama(("<|im_start|>", "<|im_end|>", *specials))


def _of_tiles(words: Any) -> dict[str, Any]:
    return {
        "text_config": {"model_type": "llama"} | _TEXT | _of(words),
        "vision_config": _VISION | {"image_size": 64, "patch_size": 16},
        "scale_factor": 2,
        "image_token_id": words.convert_tokens_to_ids("<image>"),
        "pad_token_id": words.pad_token_id,
    }


def _llava() -> tuple[Any, Any]:
    """Images of 56 x 56 pixels, 16 tokens each."""
    from transformers import CLIPImageProcessor, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    words = tiny_words.llama(("<|im_start|>", "<|im_end|>", "<image>"))
    side = {"height": 56, "width": 56}
    both = LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 56}, crop_size=side),
        words,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_chat("<image>"),
    )
    config = LlavaConfig(
        text_config={"model_type": "llama"} | _TEXT | _of(words),
        vision_config={"model_type": "clip_vision_model", "image_size": 56, "patch_size": 14, "projection_dim": 64}
        | _VISION,
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
        tie_word_embeddings=False,
    )
    return both, lambda: LlavaForConditionalGeneration(config)


def _llava_onevision() -> tuple[Any, Any]:
    """A single image as up to four tiles of 56 x 56 pixels and the whole, 16 tokens each; a Qwen2 and its tokenizer."""
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        LlavaOnevisionImageProcessor,
        LlavaOnevisionProcessor,
        LlavaOnevisionVideoProcessor,
    )

    words = base_model.tokenizer()
    words.add_tokens(["<image>", "<video>"], special_tokens=True)
    side, grids = {"height": 56, "width": 56}, [[56, 56], [56, 112], [112, 56], [112, 112]]
    both = LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessor(size=side, image_grid_pinpoints=grids),
        words,
        LlavaOnevisionVideoProcessor(size=side),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=_chat("<image>"),
    )
    config = LlavaOnevisionConfig(
        text_config={"model_type": "qwen2"} | _TEXT | _of(words) | {"tie_word_embeddings": True},
        vision_config=_VISION
        | {"model_type": "siglip_vision_model", "image_size": 56, "patch_size": 14, "vision_use_head": False},
        image_grid_pinpoints=grids,
        image_token_index=words.convert_tokens_to_ids("<image>"),
        video_token_index=words.convert_tokens_to_ids("<video>"),
    )
    return both, lambda: LlavaOnevisionForConditionalGeneration(config)


FAMILIES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "gemma3": _gemma3,
    "idefics3": _idefics3,
    "llava": _llava,
    "llava_onevision": _llava_onevision,
}
NEEDS_NUM2WORDS: dict[str, Callable[[], tuple[Any, Any]]] = {"smolvlm": _smolvlm}


def build(folder: Path, family: str, tags: bool = True) -> Path:
    """Write a model folder and return it: as the policy stage leaves one, or without tags as a base model comes."""
    hf_env.prepare()
    import torch

    both, make = (FAMILIES | NEEDS_NUM2WORDS)[family]()
    torch.manual_seed(0)
    untrained = make()
    for name, weight in untrained.named_parameters():  # as in the mini model: spread by fan-in
        if weight.dim() >= 2 and "embed" not in name:
            torch.nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    if tags:
        folders.add_control_tokens(both, untrained)
    base_model.save(folder, untrained.eval(), both)
    if tags:
        publish(folder)
        folders.write_manifest(folder, {"stage": "test"})
    return folder


def build_text(folder: Path, family: str, tags: bool = True) -> Path:
    """Write the folder of a text-only model, `llama` (not tied, a Llama tokenizer) or `qwen2` (tied, byte-level)."""
    hf_env.prepare()
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    words = tiny_words.llama(("<|im_start|>", "<|im_end|>")) if family == "llama" else base_model.tokenizer()
    words.chat_template = base_model.CHAT_TEMPLATE
    config = AutoConfig.for_model(family, **_TEXT, **_of(words), tie_word_embeddings=family == "qwen2")
    torch.manual_seed(0)
    untrained = AutoModelForCausalLM.from_config(config)
    for name, weight in untrained.named_parameters():
        if weight.dim() >= 2 and "embed" not in name:
            torch.nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    both = TextProcessor(words)
    if tags:
        folders.add_control_tokens(both, untrained)
    base_model.save(folder, untrained.eval(), both)
    if tags:
        folders.write_manifest(folder, {"stage": "test"})
    return folder
