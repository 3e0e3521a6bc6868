"""Full disks, disks that cannot be written, another disk: one sentence with path and remedy, and nothing lost."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from small_disks import fill, small_disk
from toy_world import completions
from typer.testing import CliRunner

from mmprm.cli import app
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, write_problems
from mmprm.data.sorted_spill import SortedSpill
from mmprm.rollouts.journal import Entry, Journal
from mmprm.runtime import disk
from mmprm.runtime.errors import UserError

ENTRY = Entry(completions("<step>a</step>\n" + "a long text " * 400), (("correct", "number"),), "1")
FULL = r"No space left on device; make room \(`mmprm clean RUN`"
CANDIDATE = {"problem_id": "p", "candidate": 0, "text": "", "steps": ["a"], "answer": "1", "status": "ok"}
CANDIDATE |= {"verdict": "correct", "method": "", "n_tokens": 1, "finish_reason": "stop"}


def shards(folder: Path, size: int) -> list[Path]:
    """Two tables of candidates whose texts cannot be packed."""
    rows = [CANDIDATE | {"problem_id": str(n), "text": os.urandom(500).hex()} for n in range(size)]
    paths = [folder / "a.parquet", folder / "b.parquet"]
    tables.write(paths[0], rows[::2], schemas.CANDIDATES)
    tables.write(paths[1], rows[1::2], schemas.CANDIDATES)
    return paths


def test_a_table_that_does_not_fit_on_its_disk_is_named_and_leaves_nothing_behind(tmp_path: Path) -> None:
    paths = shards(tmp_path, 4000)
    with small_disk(tmp_path / "disk") as place:
        tables.write_text(place / "before", "kept")
        arguments = ["gather-candidates", "--shards", *map(str, paths), "--out", str(place / "all.parquet")]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 2 and not isinstance(done.exception, OSError)
        (line,) = done.output.strip().splitlines()
        assert f"{place}/all.parquet: No space left on device; make room" in line
        assert [path.name for path in place.iterdir()] == ["before"]


def test_rows_that_do_not_fit_while_they_are_sorted_name_the_folder(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as place, pytest.raises(UserError, match=f"{place}: {FULL}"):  # noqa: SIM117
        with disk.explained(), SortedSpill(place, schemas.CANDIDATES) as spill:
            for number in range(4000):
                spill.add(str(number), [CANDIDATE | {"text": os.urandom(500).hex()}])


def test_a_journal_on_a_full_disk_names_its_file_and_keeps_what_it_has(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as place:
        fill(place, leave=30_000)
        journal, kept = Journal(place, "0-of-1"), 0
        with pytest.raises(UserError, match=rf"{place}/\d+-0-of-1-\d+\.jsonl: {FULL}"), disk.explained():
            for kept in range(100):
                journal.append(f"k{kept}", ENTRY)
        assert 0 < kept < 100
        journal.close()
        (place / "filling").unlink()
        again = Journal(place, "0-of-1")
        assert [again.get(f"k{number}") for number in range(kept + 1)] == [ENTRY] * kept + [None]
        again.append(f"k{kept}", ENTRY)
        again.compact()
        (table,) = place.glob("*.parquet")
        assert pq.read_metadata(table).num_rows == kept + 1


@pytest.mark.slow
def test_a_training_on_a_full_disk_names_the_folder_and_goes_on_when_there_is_room(
    mini_problems: list[Problem],
    training_config,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from transformers import TrainerCallback

    from mmprm.model import folders
    from mmprm.training import checkpoints, train_policy

    class FullAfterTheFirst(TrainerCallback):
        def on_save(self, *arguments: Any, **more: Any) -> None:
            marker.on_save(*arguments, **more)
            fill(place)

    marker = checkpoints.mark_complete()
    table, out = tmp_path / "sft.parquet", tmp_path / "policy"
    write_problems(table, mini_problems)
    with small_disk(tmp_path / "disk", size="400m") as place:
        config = training_config(epochs=2, save_every=1)
        weights = (config.policy.base / "model.safetensors").stat().st_size

        def train() -> None:
            with disk.explained():
                train_policy.train_policy(config, [table], place / "work", out)

        fill(place, leave=weights // 2)
        with pytest.raises(UserError, match=f"{place}/work/start: {FULL}"):
            train()
        fill(place, leave=3 * weights)
        with pytest.raises(UserError, match=f"{place}/work/checkpoints: {FULL}"):
            train()
        assert not (out / folders.MANIFEST).exists()
        (place / "filling").unlink()
        with monkeypatch.context() as patched, pytest.raises(UserError, match=f"{place}/work/checkpoints: {FULL}"):
            patched.setattr(checkpoints, "mark_complete", FullAfterTheFirst)
            train()
        (place / "filling").unlink()
        capfd.readouterr()
        train()
        assert "resuming after update 1 of 4" in capfd.readouterr().err
        assert folders.check_manifest(out, whole=True)["info"]["steps"] == 4


def test_results_may_lie_on_another_disk_than_what_they_are_made_from(tmp_path: Path) -> None:
    paths = shards(tmp_path, 20)
    with small_disk(tmp_path / "disk", "4m") as place:
        (tmp_path / "results").symlink_to(place)
        out = tmp_path / "results/all.parquet"
        done = CliRunner().invoke(app, ["gather-candidates", "--shards", *map(str, paths), "--out", str(out)])
        assert done.exit_code == 0, done.output
        assert tables.count(place / "all.parquet") == 20
        with pytest.raises(OSError, match="cross-device"):  # as it is for who renames from one to the other
            os.rename(out, tmp_path / "moved")  # noqa: PTH104


def test_a_folder_that_can_only_be_read_is_named(tmp_path: Path) -> None:
    paths = shards(tmp_path, 2)
    with small_disk(tmp_path / "disk", read_only=True) as place:
        for out in (place / "all.parquet", place / "new/folder/all.parquet"):
            done = CliRunner().invoke(app, ["gather-candidates", "--shards", *map(str, paths), "--out", str(out)])
            (line,) = done.output.strip().splitlines()
            assert done.exit_code == 2 and f"{place}" in line
            assert "Read-only file system; run in a folder that can be written" in line


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_table_that_may_not_be_read_is_not_called_damaged(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    (path, _) = shards(tmp_path, 2)
    monkeypatch.setattr(pq, "read_table", refused)
    with pytest.raises(UserError, match=f"a.parquet: {os.strerror(number)}") as raised:
        tables.read(path, schemas.CANDIDATES)
    assert "delete" not in str(raised.value)


def test_an_error_that_no_user_can_mend_keeps_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), disk.explained():
        (tmp_path / "none").read_bytes()
    with pytest.raises(ValueError, match="of our own"), disk.filling(tmp_path):
        raise ValueError("of our own")


def test_whatever_a_library_raises_on_a_full_disk_is_its_fullness(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as place:
        fill(place)
        with pytest.raises(UserError, match=f"{place}/new: {FULL}"), disk.explained(), disk.filling(place / "new"):
            raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")
    with pytest.raises(UserError, match=FULL), disk.explained(), disk.filling(tmp_path):
        raise RuntimeError("I/O error: No space left on device (os error 28)")


WORDS = "Größe ≤ 3 · 面积"
IN_ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": ""}


def test_texts_are_utf8_whatever_the_locale(tmp_path: Path) -> None:
    """Python itself takes a C locale for UTF-8 unless it is told not to: so it stands for any other locale here."""
    code = (
        "import locale, sys; from pathlib import Path\n"
        "from mmprm.data import tables; from mmprm.report import results\n"
        "assert locale.getpreferredencoding(False).upper() not in ('UTF-8', 'UTF8'), 'this is a UTF-8 locale'\n"
        "words = Path(sys.argv[1]).read_bytes().decode()\n"
        "tables.write_json(Path(sys.argv[2]), {'words': words})\n"
        "assert results.read_json(Path(sys.argv[2])) == {'words': words}\n"
        "from mmprm.cli import app; sys.argv = ['mmprm', 'config', sys.argv[3]]; app()"
    )
    (tmp_path / "words").write_text(WORDS, encoding="utf-8")
    values = yaml.safe_load((Path(__file__).parents[2] / "configs/ci.yaml").read_text(encoding="utf-8"))
    values["report"] = {"title": WORDS}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    command = [sys.executable, "-c", code, *(str(tmp_path / name) for name in ("words", "out.json", "config.yaml"))]
    done = subprocess.run(command, env={**os.environ, **IN_ASCII}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert WORDS in (tmp_path / "out.json").read_text(encoding="utf-8")
    assert WORDS.encode("ascii", "backslashreplace") in done.stdout, "what the locale lacks is shown by its codes"


def test_ruff_holds_every_open_to_an_encoding(tmp_path: Path) -> None:
    ruff, root = Path(sys.executable).with_name("ruff"), Path(__file__).parents[2]
    (tmp_path / "src").mkdir()
    (tmp_path / "src/one.py").write_text('"""One."""\n\nfrom pathlib import Path\n\nPath("a").read_text()\n')
    shutil.copy(root / "pyproject.toml", tmp_path)
    done = subprocess.run([ruff, "check", "src"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "unspecified-encoding" in done.stdout
