"""The mini base model: what its tokenizer reads, how it is taught, and what is kept in `models/`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmprm.mini import base_model, train_base, vision_lesson
from mmprm.mini.lessons import KINDS, lesson
from mmprm.model import folders

_TOKENIZER = base_model.tokenizer()


@given(st.text(max_size=60))
def test_the_tokenizer_reads_any_text(text: str) -> None:
    assert _TOKENIZER.decode(_TOKENIZER.encode(text)) == text


@pytest.mark.parametrize("word", ["Yes", "No", "? ", "7", " * "])
def test_yes_and_no_digits_and_signs_are_single_tokens(word: str) -> None:
    assert len(_TOKENIZER.encode(word)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_marked_spans_of_a_lesson_are_learnt_and_checked(kind: str) -> None:
    item = lesson(kind, "sft", random.Random(1))
    batch = train_base.collate([item], base_model.processor())
    for target, spans in (("labels", item.spans), ("checked", item.checked)):
        marked = batch["input_ids"][batch[target] != -100]
        assert _TOKENIZER.decode(marked) == "".join(item.text[first:last] for first, last in spans)
    assert item.checked and set(item.checked) <= set(item.spans)


@pytest.mark.slow
def test_a_killed_base_training_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(train_base, "BATCH", 2)
    monkeypatch.setattr(train_base, "CHECKPOINT", 2)
    monkeypatch.setattr(vision_lesson, "BATCH", 2)
    monkeypatch.setattr(vision_lesson, "STEPS", 2)
    monkeypatch.setattr(train_base, "measure", lambda *_, **__: {"read": 0.0})
    train_base.train(tmp_path / "whole", tmp_path / "work", steps=4)

    calls = 0
    real = train_base.collate

    def killed(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(train_base, "collate", killed)
    with pytest.raises(KeyboardInterrupt):
        train_base.train(tmp_path / "resumed", tmp_path / "other", steps=4)
    train_base.train(tmp_path / "resumed", tmp_path / "other", steps=4)
    assert calls == 4 + 2  # steps 3 and 4 again, 1 and 2 not
    first, second = (folders.load_model(tmp_path / name).state_dict() for name in ("whole", "resumed"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_base_model_in_the_repository_is_small_whole_and_without_tags() -> None:
    folder = Path(__file__).parents[2] / "models" / "mini-base"
    folders.check_manifest(folder)
    assert sum(file.stat().st_size for file in folder.glob("*.safetensors")) <= 10_000_000
    assert not {"<step>", "<prm>"} & set(folders.load_processor(folder).tokenizer.get_vocab())
