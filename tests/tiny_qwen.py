"""Untrained models of Qwen-VL's families, some 0.3 million parameters each, with the mini model's tokenizer.

Their positions have three dimensions, their images any size, and the vision encoder of Qwen2.5-VL attends in windows:
2 x 2 image tokens each, so that the mini world's figures have several.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmprm.mini import base_model
from mmprm.model import folders, hf_env

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
PATCH = 16
SPECIALS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
CHAT_TEMPLATE = base_model.CHAT_TEMPLATE.replace("<IMG_CONTEXT>", "<|vision_start|><|image_pad|><|vision_end|>")
_TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 2048,
}
_VISION = {"depth": 2, "num_heads": 2, "patch_size": PATCH, "spatial_merge_size": 2, "temporal_patch_size": 2}
_EYES: dict[str, dict[str, Any]] = {  # what the vision encoders have apart
    "qwen2_vl": {"embed_dim": 64, "hidden_size": 64, "mlp_ratio": 2},
    "qwen2_5_vl": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "out_hidden_size": 64,
        "window_size": 4 * PATCH,
        "fullatt_block_indexes": [1],
    },
    "qwen3_vl": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "out_hidden_size": 64,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    },
}


def processor(family: str) -> Any:
    """The family's processor: 64 to 16,384 pixels an image, one token for 32 x 32 of them."""
    hf_env.prepare()
    import transformers
    from transformers import Qwen2VLImageProcessor

    words = base_model.tokenizer()
    words.add_tokens(list(SPECIALS), special_tokens=True)
    name = {"qwen2_vl": "Qwen2VL", "qwen2_5_vl": "Qwen2_5_VL", "qwen3_vl": "Qwen3VL"}[family]
    video = "Qwen3VLVideoProcessor" if family == "qwen3_vl" else "Qwen2VLVideoProcessor"
    sizes = {"patch_size": PATCH, "size": {"shortest_edge": 32 * 32, "longest_edge": 128 * 128}}
    return getattr(transformers, f"{name}Processor")(
        image_processor=Qwen2VLImageProcessor(**sizes),
        tokenizer=words,
        video_processor=getattr(transformers, video)(**sizes),
        chat_template=CHAT_TEMPLATE,
    )


def model(family: str, words: Any, **text: Any) -> Any:
    """The family's model with random weights; `words` is its tokenizer, `text` goes into the text's configuration."""
    hf_env.prepare()
    import torch
    import transformers

    name = {"qwen2_vl": "Qwen2VL", "qwen2_5_vl": "Qwen2_5_VL", "qwen3_vl": "Qwen3VL"}[family]
    start, end, image, video = words.convert_tokens_to_ids(list(SPECIALS))
    rotary = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 6, 6]}
    if family == "qwen3_vl":
        rotary["mrope_interleaved"] = True
        text = {"head_dim": 32} | text
    config = getattr(transformers, f"{name}Config")(
        text_config={
            **_TEXT,
            "vocab_size": len(words),
            "rope_parameters": rotary,
            "bos_token_id": None,
            "eos_token_id": words.eos_token_id,
            "pad_token_id": words.pad_token_id,
            **text,
        },
        vision_config=_VISION | _EYES[family],
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
        tie_word_embeddings=family != "qwen2_vl",  # both are in use
    )
    torch.manual_seed(0)
    random_model = getattr(transformers, f"{name}ForConditionalGeneration")(config)
    for parameter, weight in random_model.named_parameters():  # as in the mini model: spread by fan-in
        if weight.dim() >= 2 and "embed" not in parameter:
            torch.nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    return random_model.eval()


def build(folder: Path, family: str, tags: bool = True, **text: Any) -> Path:
    """Write a model folder and return it: as the policy stage leaves one, or without tags as a base model comes."""
    both = processor(family)
    untrained = model(family, both.tokenizer, **text)
    if tags:
        folders.add_control_tokens(both, untrained)
    untrained.generation_config.eos_token_id = both.tokenizer.eos_token_id
    untrained.generation_config.pad_token_id = both.tokenizer.pad_token_id
    folder.mkdir(parents=True, exist_ok=True)
    untrained.save_pretrained(folder)
    both.save_pretrained(folder)
    if tags:
        folders.write_manifest(folder, {"stage": "test"})
    return folder
