"""Tokens of an image. In: a base's configuration and its processor's files. Out: those of a small and of the largest.

What the processors of transformers do with the largest images, from their settings alone.
"""

import math
from pathlib import Path
from typing import Any

from mmprm.preflight.shape import read_object

_SMALL = 300 * 300  # pixels of a small figure, which Qwen-VL's processors leave as it is
_INTERNVL_PATCHES = 12  # its processor cuts an image into so many tiles at most, and a thumbnail


def image_tokens(folder: Path, config: dict[str, Any], limit: int | None = None) -> tuple[int, int] | None:
    """Return the tokens of a small image and the most of any; None for a family that is not known here.

    (0, 0) for a model of text alone. limit: policy.images.max_pixels, as mmprm.model.image_size carries it out.
    """
    vision = config.get("vision_config")
    if not vision:
        return 0, 0
    both, images = _settings(folder)
    family = str(config.get("model_type", ""))
    if family.startswith("internvl"):
        return _internvl(config, both, images, limit)
    if family.startswith("qwen") and "vl" in family:
        return _qwen(vision, images, limit)
    if family in ("idefics3", "smolvlm"):
        return _idefics(both, images, limit)
    fixed = {"gemma3": _gemma, "llava_onevision": _onevision}
    return fixed[family](config) if family in fixed else None


def _internvl(
    config: dict[str, Any], both: dict[str, Any], images: dict[str, Any], limit: int | None
) -> tuple[int, int]:
    vision = config["vision_config"]
    patch, size = _side(vision.get("patch_size", 14)), _side(vision.get("image_size", 448))
    tile = both.get("image_seq_length") or config.get("image_seq_length")
    tile = tile or round((size // patch) ** 2 * config.get("downsample_ratio", 0.5) ** 2)
    most = images.get("max_patches", _INTERNVL_PATCHES)  # transformers 5.19 cuts whatever crop_to_patches says
    most = most if limit is None else min(most, max(1, limit // size**2))
    return tile + 2, tile * (most + 1 if most > 1 else 1) + 2


def _qwen(vision: dict[str, Any], images: dict[str, Any], limit: int | None) -> tuple[int, int]:
    side = images.get("patch_size", vision.get("patch_size", 14)) * vision.get("spatial_merge_size", 2)
    size = images.get("size") or {}
    largest = images.get("max_pixels") or size.get("longest_edge") or 16384 * 28 * 28
    largest = largest if limit is None else min(largest, limit)
    least = max(images.get("min_pixels") or size.get("shortest_edge") or 0, _SMALL)
    return min(least, largest) // side**2 + 2, largest // side**2 + 2


def _gemma(config: dict[str, Any]) -> tuple[int, int]:
    tokens = config.get("mm_tokens_per_image", 256) + 4
    return tokens, tokens


def _onevision(config: dict[str, Any]) -> tuple[int, int]:
    vision = config["vision_config"]
    patches = (_side(vision.get("image_size", 384)) // _side(vision.get("patch_size", 14))) ** 2
    tiles = int(str(config.get("vision_aspect_ratio", "anyres_max_9")).rsplit("_", 1)[-1])
    return patches + 1, patches * (tiles + 1) + round((patches * tiles) ** 0.5)  # a token ends each row


def _idefics(both: dict[str, Any], images: dict[str, Any], limit: int | None) -> tuple[int, int]:
    tile = both.get("image_seq_len", 169)
    largest = (images.get("size") or {}).get("longest_edge", 1456)
    side = (images.get("max_image_size") or {}).get("longest_edge", 364)
    if limit is not None:
        largest = min(largest, max(side, math.isqrt(limit) // side * side))
    tiles = math.ceil(largest / side) ** 2 if images.get("do_image_splitting", True) else 0
    return tile + 6, (tile + 6) * (tiles + 1)  # row and column marks before each tile


def _settings(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of the processor, and those of its part for images; empty where the files are not there."""
    files = [folder / "processor_config.json", folder / "preprocessor_config.json"]
    both, alone = (read_object(file) if file.is_file() else {} for file in files)
    return both, both.get("image_processor") or alone


def _side(value: Any) -> int:
    return int(value[0] if isinstance(value, list | tuple) else value)
