"""Parameters are counted without loading a model: what is counted is what the model has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_qwen

from mmprm.config import Training
from mmprm.model import folders, hf_env
from mmprm.preflight.memory import trainable
from mmprm.preflight.shape import read_shape, shape_of
from mmprm.runtime.errors import UserError
from mmprm.training.trainer import add_adapters, freeze_vision

MINI = Path(__file__).parents[2] / "models/mini-base"
KNOWN = {
    # As their repositories state them.
    "InternVL2_5-8B-hf": 8_075_365_376,
    "InternVL3-2B-hf": 2_088_957_440,
    "Qwen2.5-VL-3B-Instruct": 3_754_622_976,
    "smollm2-135m": 134_515_008,
}


def parameters(model: Any, trained: bool = False) -> int:
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad or not trained)


def test_the_headers_of_the_weights_tell_the_parameters_and_the_bytes() -> None:
    shape, model = read_shape(MINI), folders.load_model(MINI)
    assert shape is not None
    assert shape.parameters == parameters(model)
    assert shape.stored_bytes == 4 * parameters(model)
    assert 0 < (MINI / "model.safetensors").stat().st_size - shape.stored_bytes < 20_000  # its header


@pytest.mark.parametrize("family", ["internvl", *tiny_qwen.FAMILIES])
def test_what_a_training_changes_is_what_the_trainer_leaves_unfrozen(family: str, tmp_path: Path) -> None:
    folder = MINI if family == "internvl" else tiny_qwen.build(tmp_path, family)
    shape, model = read_shape(folder), folders.load_model(folder)
    assert shape is not None
    freeze_vision(model)
    assert trainable(shape, Training(learning_rate=1e-3)) == parameters(model, trained=True)
    assert trainable(shape, Training(learning_rate=1e-3, freeze_vision=False)) == parameters(model)


def test_adapters_are_counted_as_peft_makes_them(mini_policy_folder: Path) -> None:
    shape, model = read_shape(mini_policy_folder), folders.load_model(mini_policy_folder)
    assert shape is not None
    training = Training(learning_rate=1e-3, lora={"rank": 8})
    assert training.lora is not None
    adapted = add_adapters(model, folders.load_processor(mini_policy_folder).tokenizer, training.lora)
    tags = parameters(adapted, trained=True) - trainable(shape, training)
    assert 0 < tags <= 8 * shape.hidden  # the rows of the tags' embeddings are trained beside the adapters


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_the_sizes_of_known_models_give_the_published_number_of_parameters(name: str) -> None:
    shape = read_shape(Path("nowhere") / name)
    assert shape is not None
    assert shape.parameters == pytest.approx(KNOWN[name], rel=1e-3)


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_a_config_json_gives_what_the_model_of_transformers_has_on_the_meta_device(name: str, tmp_path: Path) -> None:
    hf_env.prepare()
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    file = Path(shape_of.__code__.co_filename).parent / f"shapes/{name}.json"
    (tmp_path / "config.json").write_text(json.dumps(json.loads(file.read_text())["config"]))
    family = AutoModelForImageTextToText if folders.reads_images(tmp_path) else AutoModelForCausalLM
    with torch.device("meta"):
        model = family.from_config(AutoConfig.from_pretrained(tmp_path))
    shape = read_shape(tmp_path)
    assert shape is not None
    assert shape.parameters == pytest.approx(parameters(model), rel=2e-3)
    # What the trainer would train of it: all but the vision encoder.
    if shape.vision:
        freeze_vision(model)
    assert trainable(shape, Training(learning_rate=1e-3)) == pytest.approx(parameters(model, trained=True), rel=2e-3)


@pytest.mark.parametrize("family", tiny_qwen.FAMILIES)
def test_small_families_without_weights_are_counted_to_a_few_per_cent(family: str, tmp_path: Path) -> None:
    folder = tiny_qwen.build(tmp_path, family)
    counted = read_shape(folder)
    assert counted is not None
    assert shape_of(counted.config, {}, 0, "").language == pytest.approx(counted.language, rel=0.05)


def test_weights_that_are_cut_short_and_configurations_of_no_model_are_told(tmp_path: Path) -> None:
    whole = (MINI / "model.safetensors").read_bytes()
    (tmp_path / "config.json").write_bytes((MINI / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(whole[:-100])
    with pytest.raises(UserError, match="it is cut short"):
        read_shape(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n")
    with pytest.raises(UserError, match="not a safetensors file"):
        read_shape(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="does not say hidden_size"):
        read_shape(tmp_path)
