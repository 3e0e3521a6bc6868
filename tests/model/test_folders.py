"""Model folders."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_families
import tiny_qwen

from mmprm.model import folders
from mmprm.model.step_text import TAGS, control_ids
from mmprm.runtime.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the names of a model folder's files."""
    (tmp_path / "model").mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "README.md"):
        (tmp_path / "model" / name).write_text(f"content of {name}")
    folders.write_manifest(tmp_path / "model", {"stage": "test"})
    return tmp_path / "model"


def test_a_manifest_lists_every_file_and_keeps_the_info(folder: Path) -> None:
    manifest = folders.check_manifest(folder)
    assert manifest["info"] == {"stage": "test"}
    assert set(manifest["files"]) == {"config.json", "model.safetensors", "tokenizer.json", "README.md"}


@pytest.mark.parametrize("damage", ["truncate", "remove", "no manifest", "half a manifest"])
def test_an_incomplete_model_folder_is_refused_with_its_name(folder: Path, damage: str) -> None:
    weights, manifest = folder / "model.safetensors", folder / folders.MANIFEST
    if damage == "truncate":
        weights.write_text("cont")
    elif damage == "remove":
        weights.unlink()
    elif damage == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text()[:30])
    with pytest.raises(UserError, match=str(folder)):
        folders.check_manifest(folder)


@pytest.mark.parametrize("change", ["another tokenizer of the same size", "another template", "an added file"])
def test_a_folder_whose_tokenizer_was_exchanged_is_refused(folder: Path, change: str) -> None:
    if change == "an added file":
        (folder / "added_tokens.json").write_text("{}")
    else:
        name = "tokenizer.json" if "size" in change else "chat_template.jinja"
        (folder / name).write_text("content of tokenizer.jsoN")
    with pytest.raises(UserError, match=r"model/\w+\.\w+: differs from the tokenizer that the model was trained with"):
        folders.check_manifest(folder)


def test_the_fingerprint_follows_the_weights_and_not_the_card_or_the_name(folder: Path) -> None:
    before = folders.fingerprint(folder)
    (folder / "README.md").write_text("another card")
    folders.write_manifest(folder, {"stage": "other"})
    moved = shutil.move(folder, folder.with_name("moved"))
    assert folders.fingerprint(moved) == before
    (moved / "model.safetensors").write_text("other weights")
    folders.write_manifest(moved, {"stage": "test"})
    assert folders.fingerprint(moved) != before


def test_a_manifest_spares_the_fingerprint_a_second_reading(folder: Path) -> None:
    with_manifest = folders.fingerprint(folder)
    (folder / folders.MANIFEST).unlink()
    assert folders.fingerprint(folder) == with_manifest


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=str(tmp_path)):
        folders.load_processor(tmp_path)


@pytest.mark.slow
def test_a_base_model_without_tags_is_refused_and_accepted_once_they_are_added(mini_model_folder: Path) -> None:
    """Defect 7: nothing checked that the control strings are single known tokens."""
    processor, model = folders.load_processor(mini_model_folder), folders.load_model(mini_model_folder)
    with pytest.raises(UserError, match="<step>"):
        control_ids(processor.tokenizer)
    pieces = {tag: processor.tokenizer.encode(tag, add_special_tokens=False) for tag in TAGS}
    old = model.get_input_embeddings().weight.detach().clone()
    ids = folders.add_control_tokens(processor, model)
    rows = model.get_input_embeddings().weight
    assert rows.shape[0] == len(processor.tokenizer) == old.shape[0] + len(TAGS)
    assert len(set(ids.values())) == len(TAGS) + 2
    for tag in TAGS:
        assert rows[ids[tag]].allclose(old[pieces[tag]].mean(dim=0), atol=1e-6)
    again = rows.detach().clone()
    assert folders.add_control_tokens(processor, model) == ids
    assert model.get_input_embeddings().weight.equal(again)


@pytest.mark.slow
def test_a_saved_policy_loads_again_with_its_tags_and_no_trace_of_how_it_was_loaded(mini_policy_folder: Path) -> None:
    processor = folders.load_processor(mini_policy_folder)
    ids = control_ids(processor.tokenizer)
    text = "<step>1 + 1 = 2</step><prm>"
    tokens = processor.tokenizer.encode(text, add_special_tokens=False)
    assert [tokens[0], tokens[-2], tokens[-1]] == [ids["<step>"], ids["</step>"], ids["<prm>"]]
    assert processor.tokenizer.decode(tokens) == text
    assert "local_files_only" not in json.loads((mini_policy_folder / "tokenizer_config.json").read_text())


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("internvl_chat", r"never run\. Take .* ends in -hf .*convert_internvl_weights_to_hf\.py"),
        ("of_tomorrow", "has no model type 'of_tomorrow', and code in a model folder is never run"),
    ],
)
@pytest.mark.parametrize("read", [folders.load_processor, folders.load_model, folders.longest_input])
def test_a_folder_that_brings_its_own_code_is_refused_with_what_to_take(
    kind: str, says: str, read: Callable[[Path], Any], tmp_path: Path
) -> None:
    """As OpenGVLab's InternVL folders are published; transformers would offer to run the code."""
    code = {"AutoConfig": "own.Config", "AutoModel": "own.Model", "AutoProcessor": "own.Processor"}
    config = {"architectures": ["InternVLChatModel"], "model_type": kind, "auto_map": code}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(UserError, match=says):
        read(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_a_processor_whose_package_is_missing_is_named_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SmolVLM's reads numbers of frames out; num2words is not in our environment."""
    folder = tiny_families.build(tmp_path / "smolvlm", "idefics3")
    file = folder / "processor_config.json"
    file.write_text(file.read_text().replace("Idefics3Processor", "SmolVLMProcessor"))
    from transformers.models.smolvlm import processing_smolvlm, video_processing_smolvlm

    video_processing_smolvlm.SmolVLMVideoProcessor().save_pretrained(folder)
    monkeypatch.setattr(processing_smolvlm, "num2words", None)
    with pytest.raises(UserError, match=r"smolvlm: its processor needs a package .*pip install num2words"):
        folders.load_processor(folder)


@pytest.mark.parametrize("named", ["eager", "flash_attention_2"])
def test_a_folder_does_not_choose_the_attention(named: str, mini_model_folder: Path, tmp_path: Path) -> None:
    """Some published config.json name one, which this machine may not have, or which is slow."""
    folder = shutil.copytree(mini_model_folder, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    for part in (config, config["text_config"], config["vision_config"]):
        part |= {"_attn_implementation": named, "attn_implementation": named}
    (folder / "config.json").write_text(json.dumps(config))
    loaded = folders.load_model(folder).config
    parts = (loaded, loaded.text_config, loaded.vision_config)
    assert {part._attn_implementation for part in parts} == {"sdpa"}


def test_whether_embeddings_are_tied_is_read_from_where_the_family_says_it(
    mini_policy_folder: Path, tmp_path: Path
) -> None:
    tied = {name: folders.ties_embeddings(tiny_qwen.build(tmp_path / name, name)) for name in tiny_qwen.FAMILIES}
    assert tied == {"qwen2_vl": False, "qwen2_5_vl": True, "qwen3_vl": True}
    assert folders.ties_embeddings(mini_policy_folder)


def test_the_fingerprint_follows_weights_that_are_no_safetensors_where_there_are_no_others(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"one")
    first = folders.fingerprint(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"two")
    assert folders.fingerprint(tmp_path) != first
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    both = folders.fingerprint(tmp_path)
    (tmp_path / "pytorch_model.bin").unlink()
    assert folders.fingerprint(tmp_path) == both  # transformers reads the safetensors: keys of finished runs stay


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", '{"files": 1, "info": {}}', '{"files": {"a": {"size": "x", "sha256": ""}}, "info": {}}', "[" * 9999],
)
def test_a_manifest_that_is_none_is_explained(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"not a manifest .* run `snakemake"):
        folders.check_manifest(tmp_path)


def test_a_flipped_bit_of_the_weights_is_seen_by_a_whole_check(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    folders.write_manifest(tmp_path, {})
    folders.check_manifest(tmp_path, whole=True)
    (tmp_path / "model.safetensors").write_bytes(b"weightS")
    folders.check_manifest(tmp_path)
    with pytest.raises(UserError, match="SHA-256"):
        folders.check_manifest(tmp_path, whole=True)


def test_a_manifest_says_where_the_model_was_made_and_names_no_person_or_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["/home/alice/bin/mmprm", "train-prm", "--out", "/home/alice/prm/manifest.json"])
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    folders.write_manifest(tmp_path, {"config": {"seed": 3}})
    text = (tmp_path / "manifest.json").read_text()
    made = json.loads(text)["provenance"]
    assert made["command"] == ["mmprm", "train-prm", "--out", "manifest.json"]
    assert len(made["locks"]["lock-cpu.txt"]) == len(made["info"]) == 64
    assert made["versions"]["torch"] and made["machine"]["cores"] and made["time"] and len(made["load"]) == 3
    assert "alice" not in text and socket.gethostname() not in json.dumps(made["machine"])


def test_code_in_a_folder_is_never_run_and_the_message_says_what_to_take_instead(tmp_path: Path) -> None:
    """As OpenGVLab/InternVL3-2B is published, with model_type internvl_chat."""
    ran = tmp_path / "ran"
    (tmp_path / "modeling.py").write_text(f"open({str(ran)!r}, 'w')")
    code = {"AutoConfig": "modeling.Config", "AutoModel": "modeling.Model", "AutoProcessor": "modeling.Processor"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "internvl_chat", "auto_map": code}))
    for load in (folders.load_processor, folders.load_model, folders.longest_input):
        with pytest.raises(UserError, match=r"never run.*InternVL3-2B-hf"):
            load(tmp_path)
    assert not ran.exists()
