"""Models that runs share: the same training gives the kept model, and another one does not."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toy_world import completions

from mmprm.data.problem import Problem, write_problems
from mmprm.model import folders
from mmprm.rollouts.journal import Entry, Journal
from mmprm.runtime import disk
from mmprm.runtime.cache import make_folder
from mmprm.runtime.errors import UserError
from mmprm.training import train_policy

ENTRY = Entry(completions("<step>a</step>"), (("correct", "number"),), "1")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model folder, and a cache beside it."""
    monkeypatch.setenv("MMPRM_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    folders.write_manifest(folder, {"stage": "test"})
    return folder


def test_a_kept_model_is_copied_whole_and_a_missing_one_is_not_found(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert not train_policy.fetch_cached("k", out)
    train_policy.store_cached("k", model)
    assert train_policy.fetch_cached("k", out) and not train_policy.fetch_cached("other", out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {p.name: p.read_bytes() for p in model.iterdir()}
    (out / "model.safetensors").write_bytes(b"changed")
    assert (tmp_path / "cache/models/k/model.safetensors").read_bytes() == b"weights", "a copy, not a link"
    train_policy.store_cached("k", out)
    assert (tmp_path / "cache/models/k/model.safetensors").read_bytes() == b"weights", "what is kept stays"
    assert [path.name for path in (tmp_path / "cache/models").iterdir()] == ["k"]


def test_a_kept_model_that_lost_a_file_is_not_handed_out(model: Path, tmp_path: Path) -> None:
    train_policy.store_cached("k", model)
    (tmp_path / "cache/models/k/model.safetensors").unlink()
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="but 7 in the manifest"):
        train_policy.fetch_cached("k", tmp_path / "out")
    assert not any((tmp_path / "out").iterdir())


@pytest.mark.parametrize("damage", ["a flipped bit", "a link", "a link to a folder", "a name outside", "no manifest"])
def test_a_kept_model_that_somebody_changed_is_not_handed_out(damage: str, model: Path, tmp_path: Path) -> None:
    train_policy.store_cached("k", model)
    cached = tmp_path / "cache/models/k"
    weights, manifest = cached / "model.safetensors", cached / "manifest.json"
    if damage == "a flipped bit":
        weights.write_bytes(b"wEights")
    elif damage == "a link":
        weights.rename(tmp_path / "elsewhere")
        weights.symlink_to(tmp_path / "elsewhere")
    elif damage == "a link to a folder":
        cached.rename(tmp_path / "elsewhere")
        cached.symlink_to(tmp_path / "elsewhere")
    elif damage == "a name outside":
        manifest.write_text(manifest.read_text().replace("model.safetensors", "../k/model.safetensors"))
    else:
        manifest.write_text('{"info": [], "files": {"a": 1}}')
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=r"manifest|link"):
        train_policy.fetch_cached("k", tmp_path / "out")
    assert not any((tmp_path / "out").iterdir())


def test_what_is_written_is_as_open_as_the_users_umask_says(model: Path, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        folders.write_manifest(model, {})
        train_policy.store_cached("k", model)
        (tmp_path / "out").mkdir()
        train_policy.fetch_cached("k", tmp_path / "out")
    finally:
        os.umask(before)
    for folder in (model, tmp_path / "cache/models/k", tmp_path / "out"):
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir() if path.name != "config.json"} == {0o640}


NOBODY = 65534


def as_nobody(work: Callable[[], object], umask: int = 0o022) -> str:
    """What this work says of an error, done by another user in a child process; empty: none."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.umask(umask)
            with disk.explained():
                work()
            os._exit(0)
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode())
            os._exit(1)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        return pipe.read()


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that other users can reach, unlike pytest's."""
    if os.getuid():
        pytest.skip("only root can be two users")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("mode", [0o1777, 0o777])
def test_two_users_share_a_cache_that_both_may_write_to(
    mode: int, shared_folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, mine = shared_folder / "cache", shared_folder / "mine"
    cache.mkdir()
    cache.chmod(mode)
    mine.mkdir()
    os.chown(mine, NOBODY, NOBODY)
    monkeypatch.setenv("MMPRM_CACHE", str(cache))
    train_policy.store_cached("of root", model)
    journal = Journal(make_folder(cache / "journals/policy/annotation"), "0-of-1")
    journal.append("k1", ENTRY)
    journal.close()

    def others_work() -> None:
        assert train_policy.fetch_cached("of root", mine)
        train_policy.store_cached("of nobody", mine)
        other = Journal(make_folder(cache / "journals/policy/annotation"), "0-of-1")
        assert other.get("k1") == ENTRY
        other.append("k2", ENTRY)
        other.compact()
        make_folder(cache / "journals/policy/bench")

    assert as_nobody(others_work) == ""
    assert {path.name: path.stat().st_uid for path in (cache / "models").iterdir()} == {
        "of root": 0,
        "of nobody": NOBODY,
    }
    assert {path.name for path in (cache / "models/of nobody").iterdir()} >= {"manifest.json", "model.safetensors"}
    again = Journal(cache / "journals/policy/annotation", "0-of-1")
    assert again.get("k1") == again.get("k2") == ENTRY


def test_who_may_not_write_to_a_cache_reads_it_and_is_told(
    shared_folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    cache, mine = shared_folder / "cache", shared_folder / "mine"
    mine.mkdir()
    os.chown(mine, NOBODY, NOBODY)
    monkeypatch.setenv("MMPRM_CACHE", str(cache))
    train_policy.store_cached("k", model)
    folder = make_folder(cache / "journals/p")
    said = as_nobody(lambda: Journal(folder, "0-of-1").append("k", ENTRY))
    assert said.startswith(f"UserError: {folder}") and "Permission denied; give this user the rights to it" in said
    assert as_nobody(lambda: train_policy.fetch_cached("k", mine) or 1 / 0) == ""
    assert as_nobody(lambda: train_policy.store_cached("another", mine)) == "", "a training that has ended succeeds"
    assert "the policy is not kept for other runs" in capfd.readouterr().err
    (cache / "models/k/manifest.json").chmod(0o600)
    said = as_nobody(lambda: train_policy.fetch_cached("k", mine))
    assert said.startswith(f"UserError: {cache}/models/k/manifest.json: Permission denied")


def test_without_a_folder_nothing_is_kept(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMPRM_CACHE")
    train_policy.store_cached("k", model)
    assert not train_policy.fetch_cached("k", tmp_path) and not (tmp_path / "cache").exists()


def test_the_key_is_of_settings_and_of_the_tables_contents_not_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    a, same, other = tmp_path / "a", tmp_path / "run/a", tmp_path / "other"
    a.write_text("rows")
    same.write_text("rows")
    other.write_text("other rows")
    key = train_policy.cache_key({"seed": 0, "lr": 1e-3}, [a, other])
    assert key == train_policy.cache_key({"lr": 1e-3, "seed": 0}, [same, other])
    changed = [({"seed": 1, "lr": 1e-3}, [a, other]), ({"seed": 0, "lr": 1e-3}, [a, a]), ({"seed": 0}, [a, other])]
    assert key not in {train_policy.cache_key(*inputs) for inputs in changed}


@pytest.mark.slow
def test_the_same_policy_is_trained_once_for_all_runs_and_another_one_is_trained(
    mini_problems: list[Problem], training_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    monkeypatch.setenv("MMPRM_CACHE", str(tmp_path / "cache"))

    def trained(run: str, name: str = "sft", **settings: object) -> tuple[str, bytes]:
        table = tmp_path / run / f"{name}.parquet"
        write_problems(table, mini_problems)
        train_policy.train_policy(
            training_config(max_steps=2, **settings), [table], tmp_path / run / "work", tmp_path / run / "p"
        )
        return folders.fingerprint(tmp_path / run / "p"), (tmp_path / run / "p/manifest.json").read_bytes()

    first = trained("one")
    assert "another run" not in capfd.readouterr().err
    assert trained("two", "under_another_name", micro_batch_size=1, save_every=7) == first
    assert "another run has trained it" in capfd.readouterr().err
    assert trained("three", learning_rate=1e-4)[0] != first[0]
    assert "another run" not in capfd.readouterr().err
    assert len(list((tmp_path / "cache/models").iterdir())) == 2
