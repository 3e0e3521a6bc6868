"""What can go of a finished run: it is shown with its size, and only what is asked for goes."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmprm.cli import app
from mmprm.runtime import clean
from mmprm.runtime.errors import UserError

FILES = {
    "config.json": 10,
    "labels/paths.parquet": 100,
    "policy/model.safetensors": 1000,
    "work/policy/checkpoints/checkpoint-4/model.safetensors": 5_000_000,
    "work/prm/soft/checkpoints/checkpoint-4/model.safetensors": 3_000_000,
    "work/annotation/1-0-of-1-7.parquet": 2_000_000,
    "work/bench/test/1-0-of-1-7.jsonl": 1_000_000,
    "work/intake/pool/checked-1/0.rows": 400,
    "logs/annotate/0-of-1.log": 30,
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, size in FILES.items():
        file = tmp_path / "results/mini" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(size))
    return tmp_path / "results/mini"


def left(run: Path) -> set[str]:
    return {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()} - {".in-use"}


def test_without_a_kind_sizes_are_shown_and_nothing_goes(run: Path) -> None:
    done = CliRunner().invoke(app, ["clean", "mini"])
    assert done.exit_code == 0, done.output
    assert "7.6 MiB" in done.output and "2.9 MiB" in done.output
    assert left(run) == set(FILES)


def test_what_is_asked_for_goes_and_tables_and_models_stay(run: Path) -> None:
    done = CliRunner().invoke(app, ["clean", "mini", "--remove", "checkpoints", "journals"])
    assert done.exit_code == 0, done.output
    assert left(run) == {name for name in FILES if not name.startswith("work/") or "intake" in name}
    assert clean.sizes(run) == {"checkpoints": 0, "journals": 0, "parts": 400, "logs": 30}


def test_nothing_goes_while_a_run_lives_and_nothing_behind_a_link(run: Path, tmp_path: Path) -> None:
    with (run / ".in-use").open("a+") as mark:
        fcntl.flock(mark, fcntl.LOCK_SH)
        with pytest.raises(UserError, match="wait for its end"):
            clean.remove(run, ["logs"])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/kept").touch()
    (run / "work/tagging").symlink_to(tmp_path / "elsewhere")
    clean.remove(run, ["journals"])
    assert (tmp_path / "elsewhere/kept").exists()
    with pytest.raises(UserError, match="allowed: checkpoints"):
        clean.remove(run, ["tables"])
    with pytest.raises(UserError, match="not a run"):
        clean.sizes(tmp_path)
