"""Tokens of an image, as the families' own processors make them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_qwen
from PIL import Image

from mmprm.mini import base_model
from mmprm.model import folders
from mmprm.model.image_size import limit_pixels
from mmprm.preflight.images import image_tokens
from mmprm.preflight.shape import read_shape


def of_processor(processor: Any, width: int, height: int, **options: Any) -> int:
    """Tokens of a picture, by the processor itself; those that open and close it included."""
    picture = Image.new("RGB", (width, height))
    text = processor.image_token
    found = processor(text=[text], images=[picture], text_kwargs={"add_special_tokens": False}, **options)
    return len(found["input_ids"][0])


def test_internvl_takes_a_tile_or_all_of_them_and_a_thumbnail(tmp_path: Path) -> None:
    folder = base_model.build(tmp_path)
    shape = read_shape(folder)
    assert shape is not None
    for patches in (12, 4, 1):
        settings = json.loads((folder / "processor_config.json").read_text())
        settings["image_processor"]["max_patches"] = patches
        (folder / "processor_config.json").write_text(json.dumps(settings))
        both = folders.load_processor(folder)
        taken = [of_processor(both, *size) for size in ((100, 100), (800, 600), (600, 800))]
        assert image_tokens(folder, shape.config) == (min(taken), max(taken))
        limit_pixels(both, None, 4 * 128 * 128)
        taken = [of_processor(both, *size) for size in ((100, 100), (600, 600), (800, 400))]
        limited = image_tokens(folder, shape.config, 4 * 128 * 128)
        assert limited is not None and limited[1] == max(taken) <= 16 * 5 + 2


@pytest.mark.parametrize("family", tiny_qwen.FAMILIES)
def test_qwen_takes_what_its_most_pixels_make(family: str, tmp_path: Path) -> None:
    folder = tiny_qwen.build(tmp_path, family)
    shape = read_shape(folder)
    assert shape is not None
    _, most = image_tokens(folder, shape.config) or (0, 0)
    taken = [of_processor(tiny_qwen.processor(family), *size) for size in ((600, 600), (800, 400), (40, 40))]
    assert taken[0] + 2 == most == 18  # 128 x 128 pixels, 32 x 32 a token; the template adds the two that enclose it
    assert max(taken) == taken[0]


def test_idefics_takes_whole_tiles_along_its_longest_edge() -> None:
    """Four by four tiles and the whole, of 169 tokens and the marks before them (Idefics3's defaults)."""
    config = {"model_type": "idefics3", "vision_config": {"image_size": 364}}
    assert image_tokens(Path("nowhere"), config) == (175, 17 * 175)
    assert image_tokens(Path("nowhere"), config, 728 * 728) == (175, 5 * 175)


def test_an_unknown_family_is_unknown_and_a_text_model_has_no_images() -> None:
    assert image_tokens(Path("nowhere"), {"model_type": "new", "vision_config": {"hidden_size": 8}}) is None
    assert image_tokens(Path("nowhere"), {"model_type": "llama"}) == (0, 0)


def test_the_published_models_take_what_their_cards_say() -> None:
    eight = read_shape(Path("nowhere/InternVL2_5-8B-hf"))
    three = read_shape(Path("nowhere/Qwen2.5-VL-3B-Instruct"))
    assert eight is not None and three is not None
    assert image_tokens(Path("nowhere"), eight.config) == (258, 13 * 256 + 2)
    assert image_tokens(Path("nowhere"), three.config)[1] == 16384 + 2  # type: ignore[index]
