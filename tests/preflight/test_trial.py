"""`mmprm check --try`: the run's own verbs on a small random copy of the base; what fails says what it said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_families
import tiny_qwen
import yaml
from typer.testing import CliRunner

from mmprm.cli import app
from mmprm.config import load
from mmprm.data.problem import read_problems
from mmprm.model import folders, hf_env
from mmprm.preflight import trial
from mmprm.preflight.shape import read_shape
from mmprm.preflight.shrink import shrink, shrink_config
from mmprm.runtime.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["InternVL2_5-8B-hf", "InternVL3-2B-hf", "Qwen2.5-VL-3B-Instruct"])
def test_a_copy_of_a_published_configuration_is_small_and_keeps_what_kernels_see(name: str, tmp_path: Path) -> None:
    hf_env.prepare()
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    known = ROOT / f"src/mmprm/preflight/shapes/{name}.json"
    (tmp_path / "config.json").write_text(json.dumps(json.loads(known.read_text())["config"]))
    config = AutoConfig.from_pretrained(tmp_path)
    shrink_config(config)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    before = read_shape(tmp_path)
    assert before is not None
    text = config.get_text_config()
    assert sum(weight.numel() for weight in model.parameters()) < 1e8 < before.parameters
    assert text.hidden_size // text.num_attention_heads == before.head_dim
    assert (text.vocab_size, text.num_hidden_layers) == (before.vocabulary, 2)
    assert text.num_key_value_heads < text.num_attention_heads  # as in the base, several queries a key


@pytest.mark.parametrize("family", tiny_qwen.FAMILIES)
def test_a_copy_reads_pictures_and_text_as_its_family_does(family: str, tmp_path: Path) -> None:
    """Made from the files beside the weights alone: the weights need not be there."""
    base = tiny_qwen.build(tmp_path / "base", family, tags=False, num_hidden_layers=4)
    (base / "model.safetensors").unlink()
    copy = shrink(base, tmp_path / "copy")
    model = folders.load_model(copy)
    assert model.config.get_text_config().num_hidden_layers == 2
    assert folders.load_processor(copy).tokenizer.get_vocab() == folders.load_processor(base).tokenizer.get_vocab()
    both = folders.load_processor(copy)
    from PIL import Image

    inputs = both(text=[both.image_token + "1"], images=[Image.new("RGB", (96, 64))], return_tensors="pt")
    assert model(**inputs).logits.isfinite().all()


def configured(base: Path, **sections: Any) -> dict[str, Any]:
    values = yaml.safe_load((ROOT / "configs/ci.yaml").read_text())
    values["policy"]["base"] = str(base)
    values["engine"]["kind"] = "transformers"
    for name, changes in sections.items():
        values[name] |= changes
    return values


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["transformers", "vllm"])
def test_a_combination_that_works_is_tried_once(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    base = tiny_qwen.build(tmp_path / "base", "qwen2_5_vl", tags=False, num_hidden_layers=4)
    values = configured(base, prm={"packing": "trees", "variants": {"soft": {}, "counts": {"label": "counts"}}})
    values["engine"]["kind"] = kind
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(values))
    done = CliRunner().invoke(app, ["check", str(file), "--try"])
    assert done.exit_code == 0, done.output
    tried = done.output.split("tried on this machine")[1]
    assert tried.count("works") == 7 and "fails" not in tried
    for text in ("SFT: fp32", f"sampling: {kind}, float32", "PRM soft: fp32, trees, soft", "scores of counts"):
        assert text in tried
    monkeypatch.setattr(trial, "_run", None)  # nothing is run again
    again = CliRunner().invoke(app, ["check", str(file), "--try"])
    assert again.exit_code == 0 and "remembered" in again.output


@pytest.mark.slow
@pytest.mark.heavy
def test_a_base_that_reads_text_alone_is_tried_on_problems_without_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    base = tiny_families.build_text(tmp_path / "base", "qwen2", tags=False)
    steps, _ = trial.try_out(load(configured(base, prm={"packing": "trees"})), tmp_path / "try")
    assert [step.error for step in steps] == [None] * 5
    problems = read_problems(tmp_path / "try/train.parquet")
    assert len(problems) == 8 and not any(problem.images for problem in problems)


@pytest.mark.slow
@pytest.mark.heavy
def test_a_combination_that_fails_says_what_the_step_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer with a sliding window, and packed solutions: refused after hours of intake, or here."""
    monkeypatch.chdir(tmp_path)
    windows = {
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "sliding_window": 16,
        "use_sliding_window": True,
    }
    base = tiny_qwen.build(tmp_path / "base", "qwen2_5_vl", tags=False, num_hidden_layers=4, **windows)
    values = configured(base)
    values["policy"]["packed_tokens"] = 512
    steps, remembered = trial.try_out(load(values), tmp_path / "try")
    assert [step.error is None for step in steps] == [True, False] and not remembered
    assert "policy.packed_tokens is not supported" in str(steps[1].error)
    assert not list((tmp_path / "try").glob("?" * 32 + ".json"))  # what fails is tried again


@pytest.mark.parametrize(("family", "drawn"), [("llama", "story"), (None, "bars")])
def test_a_trial_draws_problems_that_its_base_can_read(
    family: str | None, drawn: str, mini_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny_families.build_text(tmp_path / "base", family, tags=False) if family else mini_model_folder
    tried = []
    monkeypatch.setattr(trial, "_steps", lambda config, *_: tried.append(config) or iter(()))
    trial.try_out(load(configured(base)), tmp_path / "try")
    assert all(source.families == [drawn] for source in tried[0].sources.values())


def test_a_trial_changes_no_part_of_the_combination() -> None:
    config = load(yaml.safe_load((ROOT / "configs/one_gpu.yaml").read_text()))
    small = load(trial.small(config, Path("base")))
    for name in ("precision", "deepspeed", "lora", "gradient_checkpointing", "freeze_vision", "max_length"):
        assert getattr(small.policy.training, name) == getattr(config.policy.training, name)
        assert getattr(small.prm.training, name) == getattr(config.prm.training, name)
    assert small.policy.packed_tokens == config.policy.packed_tokens and small.prm.packing == config.prm.packing
    assert (small.engine.kind, small.engine.dtype) == (config.engine.kind, config.engine.dtype)
    assert small.policy.training.max_steps == 1 and small.sampling.max_new_tokens == 16
    with pytest.raises(UserError, match="its files but the weights are needed"):
        trial.try_out(config, Path("nowhere"))
