"""Random models of InternVL's shapes, and problems and paths of real size for them. In: a name. Out: a model folder.

The tokenizer is the mini world's, so that the text contract holds; the vocabulary's other rows are spare.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmprm.data.problem import Problem
from mmprm.mini import base_model
from mmprm.mini.problems import generate
from mmprm.model import folders, hf_env
from mmprm.model.step_text import parse
from mmprm.preflight.shape import read_shape
from perf.store import pictures, texts, tiled_processor

_EYES = {"model_type": "internvl_vision", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24}
_EYES |= {"num_attention_heads": 16, "patch_size": [14, 14], "image_size": [448, 448]}
# As InternVL3-1B: Qwen2.5-0.5B and an encoder of 300 million parameters.
_ONE = {"model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24}
_ONE |= {"num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151674, "max_position_embeddings": 32768}
_TINY = {"model_type": "qwen2", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
_TINY |= {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1024, "max_position_embeddings": 4096}
_TINY_EYES = _EYES | {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 2}
_TILES = 6  # of 448 pixels, and a thumbnail: 1,792 tokens an image
NAMES = ("tiny", "1b", "8b")


def shape(name: str) -> dict[str, Any]:
    """Return the configuration of a model: language model and encoder."""
    if name == "8b":
        known = read_shape(Path("InternVL2_5-8B-hf"))
        assert known is not None
        return dict(known.config)
    text, eyes = (_ONE, _EYES) if name == "1b" else (_TINY, _TINY_EYES | {"image_size": [56, 56]})
    return {"downsample_ratio": 0.5, "tie_word_embeddings": False, "text_config": text, "vision_config": eyes}


def make(name: str, folder: Path) -> dict[str, Any]:
    """Write a random model to `folder`, in bfloat16 where there is CUDA. Returns how many parameters and bytes."""
    hf_env.prepare()
    import torch
    from transformers import AutoModelForImageTextToText, InternVLConfig

    values = shape(name)
    side = int(values["vision_config"]["image_size"][0])
    tokens = (side // 14 // 2) ** 2
    both = tiled_processor(base_model.tokenizer(), side, tokens, _TILES if side > 56 else 1)
    folders.add_control_tokens(both)
    words = both.tokenizer
    ids = {"eos_token_id": words.eos_token_id, "bos_token_id": None, "pad_token_id": words.pad_token_id}
    values["text_config"] = values["text_config"] | ids
    values |= {"image_token_id": words.convert_tokens_to_ids("<IMG_CONTEXT>"), "image_seq_length": tokens}
    device = folders.device()
    torch.manual_seed(0)
    with torch.device(device):
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        model = AutoModelForImageTextToText.from_config(InternVLConfig(**values), dtype=dtype)
    base_model.save(folder, model, both)
    folders.write_manifest(folder, {"stage": "perf"})
    stored = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return {"parameters": sum(weight.numel() for weight in model.parameters()), "stored_bytes": stored}


def problems(count: int, small: bool) -> list[Problem]:
    """Return problems with a picture and a solution: of some 2,100 tokens, or small ones of the mini world."""
    if small:
        return generate("sft", count, ["bars", "table"], seed=0)
    images, words = pictures(), texts()
    made = []
    for number in range(count):
        question, solution = words[number % len(words)]
        answer = parse(solution).answer or ""
        image = (images[number % len(images)] + number.to_bytes(8, "big"),)  # another picture for each problem
        made.append(Problem(f"perf-{number:04d}", "perf", question, answer, image, solution=solution))
    return made


def paths(asked: Sequence[Problem], count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return `count` labelled paths a problem, as a search grows them: each leaves an earlier one after some steps."""
    rng = random.Random(seed)
    rows = []
    for problem in asked:
        drawn: list[list[str]] = []
        whole = list(parse(problem.solution or "").steps)
        for number in range(count):
            kept = rng.randrange(len(whole)) if drawn else len(whole)
            start = rng.choice(drawn)[:kept] if drawn else whole
            drawn.append(start + [f"{step} or {rng.randrange(1000)}" for step in whole[len(start) :]])
            row: dict[str, Any] = {"problem_id": problem.problem_id, "path_id": f"{problem.problem_id}/{number}"}
            soft = [rng.randrange(9) / 8 for _ in whole]
            row |= {"steps": drawn[-1], "answer": None, "soft": soft, "hard": [int(value > 0) for value in soft]}
            rows.append(row | {"label_source": ["probed"] * len(whole)})
    return rows
