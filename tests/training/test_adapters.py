"""LoRA, the best checkpoint and trackers: what a training may do besides."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_internvl
import torch
from safetensors.torch import load_file

from mmprm import config
from mmprm.data.problem import Problem, write_problems
from mmprm.model import folders
from mmprm.model.step_text import TAGS, control_ids
from mmprm.prm import marker_examples, train_prm
from mmprm.runtime.errors import UserError
from mmprm.training import train_policy

Train = Callable[..., Path]


@pytest.fixture
def train(
    training_config: Callable[..., config.Config],
    mini_policy_folder: Path,
    prm_tables: tuple[Path, Path],
    tmp_path: Path,
) -> Train:
    """Trains a PRM with the settings given; returns its folder."""

    def run(**settings: Any) -> Path:
        chosen = training_config(variants={"hard": {"label": "hard"}}, epochs=2, **settings)
        work, out = tmp_path / "work", tmp_path / "prm"
        train_prm.train_prm(chosen, "hard", mini_policy_folder, *prm_tables, work, out)
        return out

    return run


@pytest.mark.slow
def test_adapters_are_merged_on_export(train: Train, mini_policy_folder: Path) -> None:
    before = folders.load_model(mini_policy_folder).state_dict()
    out = train(lora={"rank": 4, "alpha": 8})
    assert not list(out.glob("adapter*"))
    after = folders.load_model(out).state_dict()
    assert after.keys() == before.keys()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert any("q_proj.weight" in name for name in changed) and any("down_proj.weight" in name for name in changed)
    assert not any("vision" in name or "projector" in name or "norm" in name for name in changed)
    losses = losses_of(out)
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_adapters_train_the_tags_rows_of_a_head_that_is_not_tied(
    training_config: Callable[..., config.Config], mini_problems: list[Problem], tmp_path: Path
) -> None:
    """A policy with adapters could not learn to write `<step>`: its output row stayed at the mean of its pieces."""
    base = tiny_internvl.build(tmp_path / "base", tags=False)
    chosen = training_config(lora={"rank": 4}, max_steps=2, learning_rate=1e-2, warmup_share=0, max_length=512)
    chosen = chosen.model_copy(update={"policy": chosen.policy.model_copy(update={"base": base})})
    write_problems(tmp_path / "sft.parquet", mini_problems[:6])
    train_policy.train_policy(chosen, [tmp_path / "sft.parquet"], tmp_path / "work", tmp_path / "policy")
    train_policy.start_model(base, tmp_path / "start")
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("start", "policy"))
    ids = control_ids(folders.load_processor(tmp_path / "policy").tokenizer)
    tags = sorted(ids[tag] for tag in TAGS)
    for name in ("lm_head.weight", "embed_tokens.weight"):
        (key,) = [key for key in before if key.endswith(name)]
        moved = (before[key] - after[key]).abs().amax(dim=1).nonzero()[:, 0].tolist()
        assert set(moved) <= set(tags)  # no other row
        assert len(moved) >= len(tags) - 1  # `<prm>` is in no solution, but every logit has a gradient in the head
        assert name != "lm_head.weight" or moved == tags


def losses_of(out: Path) -> list[float]:
    return [row["loss"] for row in json.loads((out / "losses.json").read_text())]


@pytest.mark.heavy
@pytest.mark.slow
def test_adapters_begin_as_the_seed_says(train: Train) -> None:
    """Whatever was drawn before in this process; an adapter's first loss is the model's, so the later ones tell."""
    runs = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        runs.append(losses_of(train(lora={"rank": 4}, save_every=100)))
    assert len(runs[0]) > 2 and runs[0] == pytest.approx(runs[1], rel=1e-6)


@pytest.mark.slow
def test_the_best_checkpoint_is_exported(train: Train) -> None:
    """A rate that makes things worse: the first of the checkpoints, not the last, is the best."""
    out = train(keep_best=True, save_every=1, learning_rate=0.05, warmup_share=0)
    info = json.loads((out / "manifest.json").read_text())["info"]
    judged = {row["step"]: row["loss"] for row in info["held_out_losses"]}
    losses = [judged[step] for step in range(1, info["steps"] + 1)]
    best = min(losses)
    again = prm_loss(out)
    assert again == pytest.approx(best, rel=1e-3)
    assert best < losses[-1]


def prm_loss(out: Path) -> float:
    """The loss of the exported model on the held-out paths, by the tables beside it."""
    from mmprm.data import schemas, tables
    from mmprm.data.problem import read_problems
    from mmprm.model.step_text import NO, YES, Renderer, control_ids
    from mmprm.training.batches import PaddedCollator
    from mmprm.training.losses import marker_loss

    processor, model = folders.load_processor(out), folders.load_model(out)
    rows = [row for row in tables.read_rows(out.parent / "paths.parquet", schemas.PATHS) if row["split"] == "dev"]
    problems = {problem.problem_id: problem for problem in read_problems(out.parent / "seeds.parquet")}
    builder = marker_examples.ExampleBuilder(problems, processor, Renderer(processor), "hard", 256)
    examples, _ = builder.build(rows)
    batch = PaddedCollator(processor, shift=0)([list(enumerate(examples))])
    labels = batch.pop("labels")
    batch.pop("examples")
    ids = control_ids(processor.tokenizer)
    with torch.no_grad():
        return float(marker_loss(ids[NO], ids[YES])(model(**batch), labels))


@pytest.mark.slow
def test_tensorboard_has_the_losses(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    out = train(report_to=["tensorboard"], max_steps=2)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(out.parent / "work/tensorboard"))
    events.Reload()
    logged = [event.value for event in events.Scalars("train/loss")]
    assert logged == pytest.approx([row["loss"] for row in json.loads((out / "losses.json").read_text())], rel=1e-4)
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)


def test_adapters_are_not_merged_from_shards(training_config: Callable[..., config.Config]) -> None:
    with pytest.raises(UserError, match="lora: adapters cannot be merged from ZeRO-3"):
        training_config(lora={}, deepspeed="zero3")
