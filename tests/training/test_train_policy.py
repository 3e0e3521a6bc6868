"""Policy training, end to end on a random mini model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mmprm.data.problem import Problem, read_problems, write_problems
from mmprm.model import folders
from mmprm.runtime.errors import UserError
from mmprm.runtime.progress import Progress
from mmprm.training import loop, train_policy
from mmprm.training.update_plan import update_plan

pytestmark = pytest.mark.slow


def _losses(out: Path) -> list[float]:
    return [row["loss"] for row in json.loads((out / "losses.json").read_text())]


@pytest.fixture(scope="module")
def table(mini_problems: list[Problem], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("problems") / "sft.parquet"
    write_problems(path, mini_problems)
    return path


@pytest.fixture(scope="module")
def uninterrupted(table: Path, training_config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy after eight updates."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    train_policy.train_policy(training_config(epochs=4, save_every=2), [table], folder / "work", folder / "policy")
    return folder / "policy"


def test_the_loss_falls_and_the_folder_is_whole(uninterrupted: Path, mini_model_folder: Path):
    losses = _losses(uninterrupted)
    assert len(losses) == 8 and losses[-1] < losses[0] - 0.5
    info = folders.check_manifest(uninterrupted)["info"]
    assert info["stage"] == "policy" and info["steps"] == 8 and info["examples"] == 12
    assert info["base"] == folders.fingerprint(mini_model_folder)
    names = {path.name for path in uninterrupted.iterdir()}
    assert {"model.safetensors", "README.md", "refused.json", "chat_template.jinja"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth"))]
    assert "learning_rate | 0.002" in (uninterrupted / "README.md").read_text()
    folders.load_model(uninterrupted)
    assert not (uninterrupted.parent / "work" / "checkpoints").exists(), "what is finished needs no checkpoint"


def test_the_frozen_vision_encoder_does_not_change(uninterrupted: Path, mini_model_folder: Path):
    before, after = (load_file(folder / "model.safetensors") for folder in (mini_model_folder, uninterrupted))
    vision = {name for name in before if "vision_tower" in name}
    assert vision and all(torch.equal(before[name], after[name]) for name in vision)
    projector = [name for name in before if "projector" in name]
    assert projector and not all(torch.equal(before[name], after[name]) for name in projector)


def test_a_vision_encoder_that_is_not_frozen_learns(table: Path, training_config, mini_model_folder, tmp_path: Path):
    config = training_config(freeze_vision=False, max_steps=2)
    train_policy.train_policy(config, [table], tmp_path / "work", tmp_path / "policy")
    before, after = (load_file(folder / "model.safetensors") for folder in (mini_model_folder, tmp_path / "policy"))
    vision = [name for name in before if "vision_tower" in name and "weight" in name]
    assert vision and not any(torch.equal(before[name], after[name]) for name in vision if "proj" in name)


def test_a_killed_training_goes_on_to_the_same_losses_and_weights(
    uninterrupted: Path, table: Path, training_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    config = training_config(epochs=4, save_every=2)
    work, out = tmp_path / "work", tmp_path / "policy"

    def die(self: Progress, step: int, details: str = "") -> None:
        if self.unit == "updates" and step == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Progress, "update", die)
        train_policy.train_policy(config, [table], work, out)
    assert not (out / "manifest.json").exists()
    # A kill while update 6 was written: all files are there but one that is too short.
    torn = shutil.copytree(work / "checkpoints" / "checkpoint-4", work / "checkpoints" / "checkpoint-6")
    (torn / "optimizer.pt").write_bytes((torn / "optimizer.pt").read_bytes()[:1000])
    train_policy.train_policy(config, [table], work, out)
    assert "resuming after update 4 of 8" in capsys.readouterr().err
    assert _losses(out) == pytest.approx(_losses(uninterrupted), rel=1e-5)
    first, second = (load_file(folder / "model.safetensors") for folder in (uninterrupted, out))
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, rtol=1e-4, atol=1e-5)


def test_a_checkpoint_of_other_settings_is_not_resumed(table: Path, training_config, tmp_path, monkeypatch, capsys):
    work, out = tmp_path / "work", tmp_path / "policy"

    def die(self: Progress, step: int, details: str = "") -> None:
        if self.unit == "updates" and step == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Progress, "update", die)
        train_policy.train_policy(training_config(save_every=1), [table], work, out)
    assert (work / "checkpoints" / "checkpoint-1" / "complete.json").is_file()
    train_policy.train_policy(training_config(save_every=1, learning_rate=1e-3), [table], work, out)
    assert "resuming" not in capsys.readouterr().err


def test_how_an_update_is_cut_into_micro_batches_does_not_change_it(table: Path, training_config, tmp_path: Path):
    losses = []
    for size in (1, 12):
        out = tmp_path / str(size)
        config = training_config(batch_size=12, micro_batch_size=size, epochs=2)
        train_policy.train_policy(config, [table], tmp_path / f"work{size}", out)
        losses.append(_losses(out))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_too_many_refused_rows_stop_the_training(mini_problems: list[Problem], training_config, tmp_path: Path):
    fields = Problem.__dataclass_fields__
    rows = [Problem(**{name: getattr(row, name) for name in fields} | {"solution": None}) for row in mini_problems[:2]]
    write_problems(tmp_path / "sft.parquet", [*rows, *mini_problems[2:]])
    with pytest.raises(UserError, match="2 of 12 rows cannot be trained on"):
        train_policy.train_policy(training_config(), [tmp_path / "sft.parquet"], tmp_path / "work", tmp_path / "out")
    refused = json.loads((tmp_path / "out" / "refused.json").read_text())
    assert {row["problem_id"] for row in refused} == {row.problem_id for row in rows}


@pytest.mark.parametrize("packed_tokens", [None, 400])
def test_a_loss_that_is_not_a_number_stops_with_the_problems_of_its_batch(
    table: Path, training_config, tmp_path: Path, monkeypatch, packed_tokens: int | None
):
    load, plan = folders.load_model, update_plan

    def broken(*args, **kwargs):
        model = load(*args, **kwargs)
        with torch.no_grad():
            model.get_output_embeddings().weight[0] = float("inf")  # a padding token, which all logits are held against
        return model

    plans = []

    def planned(*args, **kwargs):
        plans.append(plan(*args, **kwargs))
        return plans[-1]

    monkeypatch.setattr(folders, "load_model", broken)
    monkeypatch.setattr(loop, "update_plan", planned)
    config = training_config()
    config = config.model_copy(update={"policy": config.policy.model_copy(update={"packed_tokens": packed_tokens})})
    with pytest.raises(UserError, match=r"policy: the loss is (inf|nan) at update 1; the problems of that"):
        train_policy.train_policy(config, [table], tmp_path / "work", tmp_path / "policy")
    batch = json.loads((tmp_path / "work" / "nan_batch.json").read_text())
    rows = read_problems(table)
    first = [rows[index].problem_id for index in plans[0][0][0]]
    assert batch["step"] == 1 and batch["problem_ids"] == first
    assert not (tmp_path / "policy" / "manifest.json").exists()
