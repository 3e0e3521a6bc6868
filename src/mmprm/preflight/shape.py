"""The base model as numbers. In: its config.json, and its weights' headers if they are there. Out: a BaseShape.

Parameters are counted from the headers of the safetensors files. Without weights they are computed from config.json for
decoders with gated MLPs and ViT encoders, which differs from the model itself by less than 1 % (tests/preflight).
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmprm.runtime.errors import UserError

_VISION = re.compile(r"vision|visual")
_MATRIX = re.compile(r"\b(q|k|v|o|qkv|gate|up|down|gate_up)_proj\.weight$")
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1}
_SHAPES = Path(__file__).parent / "shapes"
_LONGEST_HEADER = 100_000_000  # bytes; safetensors' own limit


class UnknownSizesError(UserError):
    """A configuration that names its sizes in another way: the arithmetic does without it."""


@dataclass(frozen=True)
class BaseShape:
    """What memory and time follow from; counts are of parameters. `source` says where they are from."""

    source: str
    family: str
    language: int  # embeddings included
    vision: int  # the encoder
    projector: int
    lora: int  # rows + columns of all matrices that adapters are added to: parameters of adapters of rank 1
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    positions: int
    stored_bytes: int  # of the weights' files
    vision_layers: int
    vision_hidden: int
    vision_intermediate: int
    config: dict[str, Any]

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self.language + self.vision + self.projector

    def kv_bytes(self, element: int) -> int:
        """Bytes of a token in the KV cache, over all layers. element: bytes of a number."""
        return 2 * self.layers * self.kv_heads * self.head_dim * element


def read_shape(folder: Path) -> BaseShape | None:
    """Read the shape of a model folder, or of a model known by the folder's name; None where neither is there.

    UserError if a file is damaged, UnknownSizesError if config.json does not say the sizes of a language model.
    """
    file = folder / "config.json"
    if file.is_file():
        return shape_of(read_object(file), *_headers(folder), source=str(folder))
    known = _SHAPES / f"{folder.name}.json"
    if known.is_file():
        source = f"the published sizes of {folder.name}; {folder} is not there"
        return shape_of(read_object(known)["config"], {}, 0, source)
    return None


def known_origin(folder: Path) -> str | None:
    """Return the hub's name of a model that is known by its folder's name, or None."""
    known = _SHAPES / f"{folder.name}.json"
    return read_object(known)["repo"] if known.is_file() else None


def read_object(file: Path) -> dict[str, Any]:
    """Read a JSON object; UserError where the file holds none."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise UserError(f"{file}: not a JSON object")
    return value


def shape_of(config: dict[str, Any], header: dict[str, list[int]], stored: int, source: str) -> BaseShape:
    """Make the shape. header: the tensors' shapes by name, empty if unknown; stored: bytes of the weights."""
    text = config.get("text_config") or config.get("llm_config") or config
    needed = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "intermediate_size")
    if lacking := [key for key in needed if not isinstance(text.get(key, config.get(key)), int)]:
        raise UnknownSizesError(f"its config.json does not say {', '.join(lacking)} of a language model")
    hidden, layers, heads, vocabulary, intermediate = (int(text.get(key, config.get(key, 0))) for key in needed)
    vision = config.get("vision_config") or {}
    eyes = {
        "vision_layers": vision.get("num_hidden_layers", vision.get("depth", 0)),
        "vision_hidden": vision.get("embed_dim", vision.get("hidden_size", 0)),
        "vision_intermediate": _vision_intermediate(vision),
    }
    dimensions = {
        "layers": layers,
        "hidden": hidden,
        "heads": heads,
        "kv_heads": text.get("num_key_value_heads") or heads,
        "head_dim": text.get("head_dim") or hidden // heads,
        "intermediate": intermediate,
        "vocabulary": vocabulary,
    }
    parts = _counted(header) if header else _computed(config, text, vision, dimensions, eyes)
    return BaseShape(
        source=source,
        family=str(config.get("model_type", "?")),
        **parts,
        **dimensions,
        positions=text.get("max_position_embeddings", config.get("max_position_embeddings", 0)),
        stored_bytes=stored or 2 * sum(parts[name] for name in ("language", "vision", "projector")),
        **eyes,
        config=config,
    )


def _headers(folder: Path) -> tuple[dict[str, list[int]], int]:
    """Return the shapes of all tensors by name, and their bytes, from the headers of the safetensors files alone."""
    shapes: dict[str, list[int]] = {}
    stored = 0
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with file.open("rb") as opened:
                length = int.from_bytes(opened.read(8), "little")
                header = json.loads(opened.read(min(length, _LONGEST_HEADER)))
        except (OSError, ValueError) as error:
            raise UserError(f"{file}: not a safetensors file ({error}); fetch it again") from error
        header.pop("__metadata__", None)
        size, end = (
            file.stat().st_size,
            8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0),
        )
        if size < end:
            raise UserError(f"{file}: {size:,} bytes of {end:,}: it is cut short; fetch it again")
        for name, tensor in header.items():
            shapes[name] = tensor["shape"]
            stored += _elements(tensor["shape"]) * _BYTES.get(tensor["dtype"], 2)
    return shapes, stored


def _counted(header: dict[str, list[int]]) -> dict[str, int]:
    parts = {"language": 0, "vision": 0, "projector": 0, "lora": 0}
    for name, shape in header.items():
        if _VISION.search(name):
            # Qwen-VL's merger and InternVL's mlp1 are trained with a frozen encoder only if they lie outside of it.
            parts["vision"] += _elements(shape)
        elif re.search(r"projector|mlp1|connector|merger", name):
            parts["projector"] += _elements(shape)
        else:
            parts["language"] += _elements(shape)
            parts["lora"] += sum(shape) if _MATRIX.search(name) and len(shape) == 2 else 0
    return parts


def _elements(shape: list[int]) -> int:
    product = 1
    for length in shape:
        product *= length
    return product


def _computed(
    config: dict[str, Any], text: dict[str, Any], vision: dict[str, Any], sizes: dict[str, int], eyes: dict[str, int]
) -> dict[str, int]:
    """Count parameters from the sizes in a config.json."""
    hidden, ffn, layers = sizes["hidden"], sizes["intermediate"], sizes["layers"]
    queries, keys = sizes["heads"] * sizes["head_dim"], sizes["kv_heads"] * sizes["head_dim"]
    matrices = [(hidden, queries), (hidden, keys), (hidden, keys), (queries, hidden), *[(hidden, ffn)] * 3]
    tied = text.get("tie_word_embeddings", config.get("tie_word_embeddings", False))
    embeddings = sizes["vocabulary"] * hidden * (1 if tied else 2)
    language = embeddings + layers * (sum(rows * columns for rows, columns in matrices) + 2 * hidden) + hidden
    lora = layers * sum(rows + columns for rows, columns in matrices)
    if not eyes["vision_layers"]:
        return {"language": language, "vision": 0, "projector": 0, "lora": lora}
    width, wide = eyes["vision_hidden"], eyes["vision_intermediate"]
    mlp = (3 if vision.get("hidden_act") == "silu" else 2) * width * wide
    encoder = eyes["vision_layers"] * (4 * width * width + mlp + 6 * width + wide)
    patch, size = _first(vision.get("patch_size", 14)), _first(vision.get("image_size", 0))
    encoder += 3 * patch * patch * width * vision.get("temporal_patch_size", 1) + (size // patch) ** 2 * width
    # The projector reads several neighbouring patches at once.
    merge = vision.get("spatial_merge_size") or round(1 / config.get("downsample_ratio", 1))
    read = width * merge * merge
    if "spatial_merge_size" in vision:  # Qwen-VL: a merger in the encoder, as wide as what it reads
        encoder += read * read + read * vision.get("out_hidden_size", hidden)
        return {"language": language, "vision": encoder, "projector": 0, "lora": lora}
    return {"language": language, "vision": encoder, "projector": read * hidden + hidden * hidden, "lora": lora}


def _vision_intermediate(vision: dict[str, Any]) -> int:
    width = vision.get("embed_dim", vision.get("hidden_size", 0))
    return int(vision.get("intermediate_size") or vision.get("mlp_ratio", 4) * width)


def _first(value: Any) -> int:
    return int(value[0] if isinstance(value, list | tuple) else value)
