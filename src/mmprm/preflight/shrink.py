"""A small random model of a base's own family. In: the base's folder, without its weights. Out: a model folder.

Layers, widths and numbers of heads are cut; head sizes, vocabulary, patches, positions, tokenizer, processor and chat
template stay, because they are what an engine or a kernel may refuse.
"""

import shutil
from pathlib import Path
from typing import Any

_LAYERS, _HEADS = 2, 2
_WEIGHTS = ("*.safetensors*", "*.bin*", "*.gguf", "*.pt", "*.pth")


def shrink(base: Path, out: Path) -> Path:
    """Write the small model; importing transformers takes seconds. Whatever its configuration refuses is raised."""
    from mmprm.model import folders, hf_env

    hf_env.prepare()
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, set_seed

    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(base, out, ignore=shutil.ignore_patterns(*_WEIGHTS, "config.json", "manifest.json"))
    config = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    shrink_config(config)
    set_seed(0)
    with torch.device("cpu"):
        family = AutoModelForImageTextToText if folders.reads_images(base) else AutoModelForCausalLM
        model = family.from_config(config, trust_remote_code=False)
    model.save_pretrained(out)
    return out


def shrink_config(config: Any) -> None:
    """Cut the sizes of a configuration of transformers, in place."""
    text = config.get_text_config()
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    width = head * _HEADS
    grouped = getattr(text, "num_key_value_heads", None) not in (None, text.num_attention_heads)
    _set(text, hidden_size=width, intermediate_size=2 * width, num_attention_heads=_HEADS)
    _set(text, num_key_value_heads=1 if grouped else _HEADS)
    _cut_layers(text)
    vision = getattr(config, "vision_config", None)
    if vision is None:
        return
    heads = "num_attention_heads" if hasattr(vision, "num_attention_heads") else "num_heads"
    wide = "embed_dim" if hasattr(vision, "embed_dim") else "hidden_size"
    eye = getattr(vision, wide) // getattr(vision, heads) * _HEADS
    _set(vision, **{heads: _HEADS, wide: eye, "intermediate_size": 2 * eye, "mlp_ratio": 2})
    # Where an encoder projects to the language model's width itself (Qwen-VL), that width is this key's.
    _set(vision, out_hidden_size=width, **({"hidden_size": width} if wide == "embed_dim" else {}))
    _cut_layers(vision)


def _cut_layers(part: Any) -> None:
    layers = getattr(part, "num_hidden_layers", None) or part.depth
    kept = min(_LAYERS, layers)
    _set(
        part, num_hidden_layers=kept, depth=kept, layer_types=(getattr(part, "layer_types", None) or [])[:kept] or None
    )
    _set(part, fullatt_block_indexes=[kept - 1], deepstack_visual_indexes=[0], max_window_layers=kept)


def _set(part: Any, **values: Any) -> None:
    """Set the values that a configuration has already."""
    for name, value in values.items():
        if getattr(part, name, None) is not None and value is not None:
            setattr(part, name, value)
