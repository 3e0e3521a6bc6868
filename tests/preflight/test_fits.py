"""What does not fit is told with a change that makes it fit; what is kept in configs/ fits what it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mmprm.config import Config, Training, load
from mmprm.data.problem import Problem, write_problems
from mmprm.preflight.disk import table_bytes
from mmprm.preflight.examine import Examination, examine
from mmprm.preflight.fits import training_need
from mmprm.preflight.jobs import trainings
from mmprm.preflight.memory import GIB
from mmprm.preflight.shape import read_shape

ROOT = Path(__file__).parents[2]
KEPT = ["workflow_config.yaml", *sorted(f"configs/{path.name}" for path in (ROOT / "configs").glob("*.yaml"))]
ABSENT = (": no such file", "no Hugging Face model folder")


def kept(file: str, **sections: Any) -> Config:
    values = yaml.safe_load((ROOT / file).read_text())
    for name, changes in sections.items():
        values[name] = values.get(name, {}) | changes
    return load(values)


def misfits(examination: Examination) -> list[str]:
    """The faults that are no absent file: data and models are no part of the repository."""
    return [fault.line for fault in examination.faults if not any(absent in fault.text for absent in ABSENT)]


@pytest.mark.parametrize("file", KEPT)
def test_the_configurations_that_are_kept_fit_the_hardware_that_they_name(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    config = kept(file)
    examination = examine(config)
    assert examination.shape is not None
    assert misfits(examination) == []
    if config.policy.base not in (Path("models/mini-base"), Path("models/smollm2-135m")):  # else for two CPU cores
        assert config.hardware.gpu is not None
        needs = [need for _, _, need, has in examination.memory() if has is not None and need <= has]
        assert len(needs) == len(config.prm.variants) + 2  # the policy, the variants, the engine
        assert all(cost.hours is not None for cost in examination.costs())


@pytest.mark.parametrize("gpu", ["l4", "rtx4090", "a100-40", "l40s", "h100"])
@pytest.mark.parametrize("base", ["InternVL3-2B-hf", "Qwen2.5-VL-3B-Instruct"])
def test_one_gpu_of_24_to_80_gib_is_enough_for_its_configuration(gpu: str, base: str) -> None:
    images = {"max_pixels": 1280 * 28 * 28} if base.startswith("Qwen") else None  # its default is 16,384 tokens
    config = kept("configs/one_gpu.yaml", hardware={"gpu": gpu}, policy={"base": f"models/{base}", "images": images})
    config = config.model_copy(update={"expected": config.expected.model_copy(update={"image_tokens": None})})
    examination = examine(config)
    assert examination.images is not None and examination.images[1] == (1282 if images else 3330)
    assert misfits(examination) == []


def test_the_images_of_qwen_at_its_default_fit_no_sequence() -> None:
    config = kept("configs/one_gpu.yaml", policy={"base": "models/Qwen2.5-VL-3B-Instruct"})
    config = config.model_copy(update={"expected": config.expected.model_copy(update={"image_tokens": None})})
    told = "\n".join(misfits(examine(config)))
    assert "policy.training.max_length: 5120 tokens, but an image takes up to 16386" in told
    assert "lower policy.images.max_pixels" in told


def test_the_papers_training_as_it_was_does_not_fit_and_what_is_advised_does() -> None:
    """One GPU, ZeRO-1: some 125 GB for weights, gradients and optimizer (issue 18)."""
    config = kept("configs/mm_prm.yaml")
    shape = read_shape(config.policy.base)
    assert shape is not None
    job = next(trainings(config))
    assert training_need(config, shape, job, 3330, deepspeed="zero1", gpus=1) > 125 * GIB
    as_it_was = dict(config.policy.training) | {"deepspeed": "zero1", "gpus": 1}
    before = config.model_copy(update={"policy": config.policy.model_copy(update={"training": Training(**as_it_was)})})
    (told,) = [line for line in misfits(examine(before)) if "training the policy" in line]
    assert told.strip().startswith("policy.training: training the policy needs")
    assert "a GPU has 79.6; with deepspeed: zero2, gpus: 8 it would fit" in told
    assert training_need(config, shape, job, 3330, deepspeed="zero2", gpus=8) < 79.6 * GIB


def test_what_is_advised_is_the_least_change_and_true() -> None:
    """In one process with float32 weights and no recomputing, each card needs another change."""
    plain = {"learning_rate": 1e-4, "max_length": 5120, "micro_batch_size": 4, "precision": "bf16"}
    lines = {}
    for gpu in ("l4", "h100"):
        config = kept("configs/one_gpu.yaml", hardware={"gpu": gpu}, policy={"training": plain, "packed_tokens": None})
        (lines[gpu],) = [line for line in misfits(examine(config)) if "training the policy" in line]
        advised = lines[gpu].split("; with ")[1].removesuffix(" it would fit")
        changes = yaml.safe_load("{" + advised + "}")
        shape = read_shape(config.policy.base)
        assert shape is not None
        has = {"l4": 22.5, "h100": 79.6}[gpu] * GIB
        job = next(trainings(config))
        assert training_need(config, shape, job, 3330) > has
        assert training_need(config, shape, job, 3330, **changes) <= has
    assert "lora" in lines["l4"] and "lora" not in lines["h100"]


def test_token_budgets_are_compared_with_images_and_solutions() -> None:
    short = kept("configs/one_gpu.yaml", engine={"max_model_len": 3000}, sampling={"max_new_tokens": 2999})
    short = short.model_copy(
        update={"policy": short.policy.model_copy(update={"training": Training(learning_rate=1, max_length=2048)})}
    )
    told = "\n".join(misfits(examine(short)))
    assert "policy.training.max_length: 2048 tokens, but an image takes up to 3330: raise it to" in told
    assert "engine.max_model_len: 3000 tokens hold no question with an image, which takes up to 3330" in told
    several = examine(kept("configs/one_gpu.yaml", engine={"max_images": 3}))
    assert misfits(several) == []  # to know, but no fault
    assert any("3 images of up to 3330 tokens" in finding.text for finding in several.findings)
    none = kept("workflow_config.yaml", sampling={"max_new_tokens": 640})
    assert "640 tokens do not fit into engine.max_model_len, 640" in "\n".join(misfits(examine(none)))


def test_a_base_whose_sizes_are_named_otherwise_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in {"config.json": '{"model_type": "new", "n_embd": 8}', "tokenizer.json": "{}"}.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "pytorch_model.bin").touch()
    examination = examine(kept("workflow_config.yaml", policy={"base": str(tmp_path)}))
    assert examination.faults == [] and examination.shape is None and examination.costs() == []
    assert any("memory and costs are not calculated" in finding.text for finding in examination.findings)


def test_gpus_cache_and_disk_that_are_not_there_are_told() -> None:
    small = kept("configs/mm_prm.yaml", hardware={"gpus": 4, "gpu": "l4", "disk_gib": 100})
    told = "\n".join(misfits(examine(small)))
    assert "policy.training.gpus: 8 GPUs, but a node has 4" in told
    assert "holds no sequence of 24576 tokens; set engine.tensor_parallel to 2" in told or "lower it to" in told
    assert "models, examples and checkpoints take up to" in told and "has 100 free" in told


def test_the_disk_holds_the_problem_tables_and_a_copy_of_their_images_for_the_training() -> None:
    """Five million rows of 200 kB are a terabyte, and the examples of the policy another, beside the checkpoints."""
    config = kept("configs/mm_prm.yaml", hardware={"disk_gib": 2000})
    needs = examine(config).disk()
    assert needs["problems"] == pytest.approx(1.03e12, rel=0.03)
    assert needs["policy: examples"] == pytest.approx(1.05 * 5135768 * 202_000, rel=0.01)
    assert needs["prm: examples"] < needs["policy: examples"] / 100
    (told,) = [line for line in misfits(examine(config)) if "disk_gib" in line]
    assert "has 2000 free" in told and "expected.image_bytes" in told
    assert misfits(examine(kept("configs/mm_prm.yaml"))) == []


def test_a_finished_table_and_a_parquet_file_with_images_are_measured(
    tmp_path: Path, mini_problems: list[Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.parquet"
    write_problems(file, mini_problems)
    source = {"kind": "table", "path": str(file), "limit": 6}
    config = kept("workflow_config.yaml", sources={"mine": source})
    assert table_bytes(config, "mine", True) == pytest.approx(file.stat().st_size / 2)
    assert table_bytes(config, "sft", True) == 3360 * 2000
    table = tmp_path / "results/mini/problems/sft.parquet"
    table.parent.mkdir(parents=True)
    table.write_bytes(bytes(12345))
    assert table_bytes(config, "sft", True, tmp_path / "results/mini") == 12345
    rows = kept(
        "workflow_config.yaml", sources={"mine": source | {"path": "no.parquet"}}, expected={"rows": {"mine": 9}}
    )
    assert table_bytes(rows, "mine", True) == 6 * 202_000 and table_bytes(rows, "mine", False) == 6 * 2000
