"""InternVL with other language models than the mini model's, embeddings that are not tied; 0.4 million parameters.

A Llama with its tokenizer, as InternVL2.5-2B and 8B (InternLM2 is a Llama under other names), or a Qwen3 with the mini
model's byte-level tokenizer, as InternVL3.5. Random weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tiny_words

from mmprm.mini import base_model
from mmprm.mini.drawing import SIZE
from mmprm.model import folders, hf_env

_NARROW = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}


def processor(words: Any) -> Any:
    """The family's processor with this tokenizer: 16 image tokens."""
    both = base_model.processor()
    both.tokenizer = words
    return both


def model(words: Any, text_type: str = "llama", tied: bool = False) -> Any:
    """The family's model with random weights; `words` is its tokenizer, `text_type` its language model's type."""
    hf_env.prepare()
    import torch
    from transformers import InternVLConfig, InternVLForConditionalGeneration

    text = {"model_type": text_type, "vocab_size": len(words), "num_key_value_heads": 1, "tie_word_embeddings": tied}
    text |= {"max_position_embeddings": 2048, "bos_token_id": None, "pad_token_id": words.pad_token_id}
    text |= {"head_dim": 32} if text_type == "qwen3" else {}  # else 128
    config = InternVLConfig(
        vision_config=_NARROW | {"image_size": [SIZE, SIZE], "patch_size": [base_model.PATCH, base_model.PATCH]},
        text_config=_NARROW | text | {"eos_token_id": words.eos_token_id},
        image_token_id=words.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=base_model.IMAGE_TOKENS,
        downsample_ratio=0.5,
        tie_word_embeddings=tied,
    )
    torch.manual_seed(0)
    random_model = InternVLForConditionalGeneration(config)
    for name, weight in random_model.named_parameters():  # as in the mini model: spread by fan-in
        if weight.dim() >= 2 and "embed_tokens" not in name:
            torch.nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    return random_model.eval()


def build(folder: Path, tags: bool = True, text_type: str = "llama", tied: bool = False, dtype: Any = None) -> Path:
    """Write a model folder and return it: as the policy stage leaves one, or without tags as a base model comes."""
    both = base_model.processor() if text_type == "qwen3" else processor(tiny_words.llama())
    untrained = model(both.tokenizer, text_type, tied)
    if tags:
        folders.add_control_tokens(both, untrained)
    base_model.save(folder, untrained if dtype is None else untrained.to(dtype), both)
    if tags:
        folders.write_manifest(folder, {"stage": "test"})
    return folder
