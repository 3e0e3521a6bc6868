"""The arithmetic of memory against what models, caches and checkpoints really take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmprm import config
from mmprm.config.models import EngineSettings
from mmprm.data.problem import Problem
from mmprm.model import folders, hf_env
from mmprm.model.step_text import Renderer
from mmprm.preflight.disk import checkpoint_bytes
from mmprm.preflight.jobs import TrainingJob
from mmprm.preflight.memory import (
    GIB,
    Layout,
    activation_bytes,
    layer_bytes,
    serving,
    trainable,
    training_bytes,
)
from mmprm.preflight.shape import BaseShape, read_shape, shape_of
from mmprm.training import launch, policy_examples
from mmprm.training.job import TrainJob

SIZES = {"hidden_size": 256, "intermediate_size": 1024, "num_attention_heads": 4, "num_key_value_heads": 2}
EIGHT = Path("nowhere/InternVL2_5-8B-hf")


def kept_bytes(model: Any, tokens: int) -> int:
    """Bytes that autograd keeps of a forward pass for the backward one, each storage once, without the weights."""
    import torch

    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    storages: dict[int, int] = {}
    alive = []

    def pack(tensor: Any) -> Any:
        alive.append(tensor)  # a freed storage's address would be used again
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.model(input_ids=torch.randint(0, 100, (1, tokens)))
    return sum(storages.values())


@pytest.mark.parametrize("family", ["Qwen2", "Llama", "Qwen3"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_decoder_layer_keeps_what_is_calculated(family: str, dtype: str) -> None:
    hf_env.prepare()
    import torch
    import transformers

    def model(layers: int) -> tuple[Any, BaseShape]:
        settings = getattr(transformers, f"{family}Config")(
            **SIZES, num_hidden_layers=layers, vocab_size=200, head_dim=64
        )
        built = getattr(transformers, f"{family}ForCausalLM")(settings).to(getattr(torch, dtype)).train()
        return built, shape_of(settings.to_dict(), {}, 0, "")

    tokens, (small, _), (large, shape) = 256, model(1), model(4)
    a_layer = (kept_bytes(large, tokens) - kept_bytes(small, tokens)) / 3 / tokens
    # Norms of queries and keys, which Qwen3 has, are not counted: 12 % of what it keeps.
    assert layer_bytes(shape, 4 if dtype == "float32" else 2) == pytest.approx(a_layer, rel=0.13)


def test_the_kv_cache_is_that_of_transformers(mini_policy_folder: Path) -> None:
    import torch

    model, shape = folders.load_model(mini_policy_folder), read_shape(mini_policy_folder)
    assert shape is not None
    with torch.no_grad():
        cache = model(input_ids=torch.randint(10, 100, (1, 50)), use_cache=True).past_key_values
    held = sum(part.nbytes for layer in cache.layers for part in (layer.keys, layer.values))
    assert held == 50 * shape.kv_bytes(4)


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.parametrize(
    "options",
    [
        {"deepspeed": "zero2", "precision": "bf16"},
        {"deepspeed": "zero3", "precision": "fp32"},
        {"deepspeed": "zero2", "precision": "bf16", "lora": {"rank": 8}},
        {"precision": "bf16"},
    ],
    ids=lambda options: "-".join(str(value) for value in options.values()),
)
def test_two_processes_hold_and_keep_what_is_calculated(
    options: dict[str, Any],
    mini_policy_folder: Path,
    mini_problems: list[Problem],
    training_config: Callable[..., config.Config],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A real training's checkpoint: the optimizer of a process is what it held, and all files are what disk takes."""
    for name, value in {"MMPRM_PROCESSES": "2", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}.items():
        monkeypatch.setenv(name, value)
    processor = folders.load_processor(mini_policy_folder)
    examples, _ = policy_examples.supervised_examples(mini_problems, processor, Renderer(processor), 512)
    training = training_config(max_steps=1, save_every=1, **options).policy.training
    job = TrainJob("test", mini_policy_folder, examples, "tokens", training, 0, tmp_path / "work")
    launch.fit(job, tmp_path / "model")
    shape = read_shape(mini_policy_folder)
    assert shape is not None
    (checkpoint,) = (tmp_path / "work/checkpoints").glob("checkpoint-*")
    files = {path: path.stat().st_size for path in checkpoint.rglob("*") if path.is_file()}
    states = [
        size for path, size in files.items() if path.name.endswith("optim_states.pt") or path.name == "optimizer.pt"
    ]
    processes = 2 if training.deepspeed else 1
    parts = training_bytes(shape, training, Layout(1, 0, 0, 0), processes)
    tags = 12 * 8 * shape.hidden if training.lora else 0
    assert len(states) == processes
    assert max(states) == pytest.approx(parts["optimizer"] + tags / processes, rel=0.06)
    # Names, schedules and the pickles' frames come on top: 100 KB of a model of 1.6 million parameters.
    calculated = checkpoint_bytes(shape, TrainingJob("policy", "policy.training", None, training, None))
    assert calculated == pytest.approx(sum(files.values()) - 2 * tags, rel=0.25, abs=3e5)


def test_zero_shards_what_its_stages_shard() -> None:
    """The sums of ZeRO's paper (arXiv 1910.02054, figure 1), with float32 accumulation of gradients beside them."""
    shape = read_shape(EIGHT)
    assert shape is not None

    def parts(stage: str | None, processes: int) -> dict[str, float]:
        training = config.Training(learning_rate=1e-5, deepspeed=stage, gpus=processes, freeze_vision=False)
        return training_bytes(shape, training, Layout(1, 0, 0, 0), processes if stage else 1)

    n = shape.parameters
    assert trainable(shape, config.Training(learning_rate=1e-5, freeze_vision=False)) == n
    one, two, three = (parts(stage, 8) for stage in ("zero1", "zero2", "zero3"))
    assert one["weights"] == two["weights"] == 2 * n and three["weights"] == 2 * n / 8
    assert one["optimizer"] == two["optimizer"] == three["optimizer"] == 12 * n / 8
    assert one["gradients"] == 6 * n and two["gradients"] == three["gradients"] == 6 * n / 8
    plain = parts(None, 1)
    assert plain["weights"] + plain["gradients"] + plain["optimizer"] == 16 * n


def test_activations_follow_tokens_and_fall_with_recomputing() -> None:
    shape = read_shape(EIGHT)
    assert shape is not None
    plain = config.Training(learning_rate=1e-5)
    again = config.Training(learning_rate=1e-5, gradient_checkpointing=True)
    layout, twice = Layout(4096, 1, 3330, 500), Layout(8192, 2, 3330, 1000)
    assert activation_bytes(shape, plain, twice) == pytest.approx(2 * activation_bytes(shape, plain, layout))
    assert activation_bytes(shape, again, layout) < activation_bytes(shape, plain, layout) / 8
    only_logits = Layout(0, 0, 0, 1000)
    assert activation_bytes(shape, plain, only_logits) == 1000 * 92553 * (2 + 4 + 4)


def test_an_engine_holds_the_sequences_that_its_cache_has_room_for() -> None:
    shape = read_shape(EIGHT)
    assert shape is not None
    engine = EngineSettings(dtype="bfloat16", max_model_len=8192, gpu_memory_utilization=0.9)
    held = serving(shape, engine, 80 * GIB, 2)
    assert shape.kv_bytes(2) == 2 * 32 * 8 * 128 * 2  # keys and values, layers, heads, head size, bytes
    assert held.sequences == int(held.cache // (8192 * shape.kv_bytes(2))) > 40
    assert serving(shape, engine, 16 * GIB, 2).sequences == 0  # the weights alone take 15 GiB
    spread = serving(shape, engine.model_copy(update={"tensor_parallel": 2}), 16 * GIB, 2)
    assert spread.sequences > 0 and spread.weights == held.weights / 2
