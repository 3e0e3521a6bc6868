"""Memory of a GPU in each stage, by arithmetic. In: a BaseShape and settings. Out: bytes by what they are for.

Training follows what src/mmprm/training does: without DeepSpeed the weights are float32 and bf16 is autocast; with it
the weights are bf16, and ZeRO (arXiv 1910.02054, section 5) shards the float32 copy and AdamW's two moments (stage 1),
gradients (2) and weights (3). Activations are those that autograd keeps of a decoder layer in transformers, with an
attention that keeps no scores; tests/preflight compare them with what autograd keeps of real models.
"""

from dataclasses import dataclass
from typing import Literal

from mmprm.config import Training
from mmprm.config.models import EngineSettings
from mmprm.preflight.shape import BaseShape

GIB = 2**30
# What a process holds beside tensors: CUDA context, cuBLAS and NCCL workspaces, and what the allocator cannot reuse.
_CONTEXT = 1.2 * GIB
_FRAGMENTS = 0.05
_BUCKET = 5e8  # DeepSpeed's reduce_bucket_size and allgather_bucket_size, in elements
_LIVE = 1e9  # ZeRO-3's stage3_max_live_parameters
_PROCESS = 6.0 * GIB  # of main memory: Python, torch, CUDA, and what its data loader holds
_ENGINE = 2.0 * GIB  # vLLM: CUDA graphs, and the activations of its largest step


@dataclass(frozen=True)
class Layout:
    """What a forward pass of a training holds on one device."""

    tokens: int  # of all sequences, padding included
    images: int
    image_tokens: int  # of one image
    logits: int  # positions whose logits are computed


def trainable(shape: BaseShape, training: Training) -> int:
    """Count the parameters that a training changes."""
    if training.lora:
        return training.lora.rank * shape.lora
    return shape.language + shape.projector + (0 if training.freeze_vision else shape.vision)


def training_bytes(shape: BaseShape, training: Training, layout: Layout, processes: int) -> dict[str, float]:
    """Return the bytes of a process of a training, by what they are for. processes: over which ZeRO shards."""
    stage = int(training.deepspeed[-1]) if training.deepspeed else 0
    changed, fixed = trainable(shape, training), shape.parameters
    half = training.precision == "bf16"
    weight = 2 if half and stage else 4
    if training.lora:
        fixed += changed  # adapters stand beside the weights
    shards = processes if stage else 1
    parts = {
        "weights": weight * fixed / (shards if stage == 3 else 1),
        # Autocast keeps a bf16 copy of each weight for the backward pass, of one layer at a time when it recomputes.
        "bf16 copies": 2 * fixed / (shape.layers if training.gradient_checkpointing else 1)
        if half and not stage
        else 0,
        # Gradients are accumulated in float32, beside those of the backward pass.
        "gradients": (4 if half else 0) * changed / (shards if stage >= 2 else 1) if stage else 0.0,
        "optimizer": (12 if stage else 8) * changed / shards,
        "activations": activation_bytes(shape, training, layout),
    }
    parts["gradients"] += weight * changed / (shards if stage >= 2 else 1)
    if stage:
        parts["update"] = 4 * changed / shards  # the gradients of a shard in float32, while AdamW uses them
        moved = min(_BUCKET, changed)
        parts["buckets"] = 2 * weight * moved + (weight * min(_LIVE, fixed) if stage == 3 else 0)
    return parts


def host_bytes(shape: BaseShape, training: Training) -> float:
    """Return the bytes of a node's main memory in a training: of its processes, and of the weights while they are read.

    They are read by one process after the other (training/reading.py), but under ZeRO-3 by all at once.
    """
    processes = max(1, training.gpus) if training.deepspeed else 1
    weight = 2 if training.precision == "bf16" and training.deepspeed else 4
    copies = processes if training.deepspeed == "zero3" else 1
    return copies * weight * shape.parameters + shape.stored_bytes + processes * _PROCESS


def on_device(parts: dict[str, float]) -> float:
    """Return the bytes that a GPU needs for tensors of these sizes."""
    return sum(parts.values()) * (1 + _FRAGMENTS) + _CONTEXT


def activation_bytes(shape: BaseShape, training: Training, layout: Layout) -> float:
    """Return the bytes that autograd keeps of a forward pass, and those of the largest single step of it."""
    element = 2 if training.precision == "bf16" else 4
    layer = layer_bytes(shape, element)
    if training.gradient_checkpointing:
        kept = layout.tokens * (shape.layers * shape.hidden * element + layer)
    else:
        kept = layout.tokens * shape.layers * layer
    logits = layout.logits * shape.vocabulary * (element + 4 + 4)  # the logits, in float32, and their gradient
    return kept + logits + _vision_bytes(shape, training, layout, element)


def layer_bytes(shape: BaseShape, element: int) -> int:
    """Return the bytes that autograd keeps of one token in one decoder layer."""
    norm = (4 + element if element < 4 else 2 * element) * shape.hidden  # the input in float32, and what is scaled
    heads = shape.heads * shape.head_dim
    # Queries, keys and values, each head with its own copy of them, and what is attended to.
    attention = element * (4 * heads + shape.hidden)
    gated = element * (4 * shape.intermediate + shape.hidden)  # gate, up, its activation, their product
    return 2 * norm + attention + gated


def _vision_bytes(shape: BaseShape, training: Training, layout: Layout, element: int) -> float:
    """Return the bytes of the vision encoder: of one layer where it is frozen, else of all."""
    patches = 4 * layout.image_tokens * layout.images  # four patches are merged into a token
    layer = element * (8 * shape.vision_hidden + 2 * shape.vision_intermediate)
    layers = 1 if training.freeze_vision or training.gradient_checkpointing else shape.vision_layers
    return patches * layer * layers


@dataclass(frozen=True)
class Serving:
    """Memory of an engine on one GPU, and how many sequences it can hold at once."""

    weights: float
    cache: float  # bytes left for the KV cache
    token: float  # bytes of a token in it
    sequences: int  # of the longest length that fit


def serving(shape: BaseShape, engine: EngineSettings, memory: float, element: int) -> Serving:
    """Return what vLLM has for its KV cache. memory: bytes of a GPU; element: bytes of a number."""
    spread = engine.tensor_parallel
    weights = element * shape.parameters / spread
    share = engine.gpu_memory_utilization
    cache = memory * share - weights * (1 + _FRAGMENTS) - min(_ENGINE, 0.1 * memory)
    token = shape.kv_bytes(element) / min(spread, shape.kv_heads)
    return Serving(weights, cache, token, max(0, int(cache // (token * engine.max_model_len))))


def element_bytes(dtype: Literal["auto", "float32", "bfloat16", "float16"], shape: BaseShape) -> int:
    """Return the bytes of a number in the engine; `auto` is what the folder's weights take."""
    if dtype == "auto":
        return max(1, round(shape.stored_bytes / max(1, shape.parameters)))
    return 4 if dtype == "float32" else 2
