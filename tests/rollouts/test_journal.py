"""The journal: what was written is found again, whoever wrote it, and damage costs one line."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from toy_world import completions

from mmprm.data import tables
from mmprm.engine.base import Completion
from mmprm.rollouts import journal as module
from mmprm.rollouts.journal import Entry, Journal

ENTRY = Entry(completions("<step>a</step>\n√2 é\u2028", ""), (("correct", "number"), ("unparsed", "parse")), "1")


def write(folder: Path, *keys: str, entry: Entry = ENTRY, writer: str = "0-of-1") -> Path:
    journal = Journal(folder, writer)
    for key in keys:
        journal.append(key, entry)
    journal.close()
    return max(folder.glob("*.jsonl"))


def test_what_is_appended_is_found_again_whoever_wrote_it(tmp_path: Path) -> None:
    write(tmp_path, "k1", "k2", writer="0-of-2")
    write(tmp_path, "k3", writer="1-of-2")
    journal = Journal(tmp_path, "0-of-5")
    assert [journal.get(key) for key in ("k1", "k2", "k3", "k4")] == [ENTRY, ENTRY, ENTRY, None]


def test_a_torn_last_line_is_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "k1", "k2")
    path.write_bytes(path.read_bytes()[:-9])
    journal = Journal(tmp_path, "again")
    assert (journal.get("k1"), journal.get("k2")) == (ENTRY, None)
    assert "torn" in capsys.readouterr().err


def test_what_follows_a_torn_line_is_not_lost(tmp_path: Path) -> None:
    path = write(tmp_path, "k1", "k2")
    path.write_bytes(path.read_bytes()[:-9])
    write(tmp_path, "k3")
    journal = Journal(tmp_path, "again")
    assert [journal.get(key) for key in ("k1", "k2", "k3")] == [ENTRY, None, ENTRY]


@pytest.mark.parametrize("place", [0, 12, 30, 60, 110])
def test_a_damaged_line_is_reported_and_only_it_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: int
) -> None:
    path = write(tmp_path, "k1", "k2", "k3")
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1][:place] + bytes([lines[1][place] ^ 1]) + lines[1][place + 1 :]
    path.write_bytes(b"".join(lines))
    journal = Journal(tmp_path, "again")
    assert [journal.get(key) for key in ("k1", "k2", "k3")] == [ENTRY, None, ENTRY]
    assert f"line 2 of {path} is damaged" in capsys.readouterr().err


def test_a_later_grading_of_a_request_replaces_the_earlier_one(tmp_path: Path) -> None:
    write(tmp_path, "k1")
    regraded = Entry(ENTRY.completions, (("incorrect", "number"), ("unparsed", "parse")), "2")
    write(tmp_path, "k1", entry=regraded)
    assert Journal(tmp_path, "again").get("k1") == regraded


def test_reading_writes_nothing(tmp_path: Path) -> None:
    Journal(tmp_path / "none", "x").close()
    assert not (tmp_path / "none").exists()


def test_a_killed_process_loses_no_finished_line(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from mmprm.rollouts.journal import *\n"
        "journal = Journal(Path(sys.argv[1]), 'x')\n"
        "for i in range(20): journal.append(f'k{i}', Entry((), (), '1'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, env=dict(os.environ))
    assert done.returncode == -9
    assert len(Journal(tmp_path, "again")) == 20


def compacted(folder: Path, writer: str = "0-of-1") -> list[str]:
    """Compact as a shard does at its end; what is then in the folder, by suffix."""
    Journal(folder, writer).compact()
    return sorted(path.suffix for path in folder.iterdir())


def test_a_compacted_journal_holds_the_same_entries(tmp_path: Path) -> None:
    keys = [f"k{number}" for number in range(700)]  # more than two groups
    entries = {key: replace(ENTRY, problem_id=f"p{hash(key) % 7}", grading=key) for key in keys}
    for part, writer in ((keys[:300], "0-of-1"), (keys[300:], "0-of-1")):
        journal = Journal(tmp_path, writer)
        for key in part:
            journal.append(key, entries[key])
        journal.close()
    assert compacted(tmp_path) == [".parquet"]
    journal = Journal(tmp_path, "again")
    assert {key: journal.get(key) for key in keys} == entries and len(journal) == 700


def test_compaction_keeps_the_later_of_two_gradings_whichever_file_holds_it(tmp_path: Path) -> None:
    write(tmp_path, "k1", "k2")
    compacted(tmp_path)
    later = replace(ENTRY, grading="2")
    write(tmp_path, "k1", entry=later, writer="another")
    write(tmp_path, "k3")
    compacted(tmp_path)
    journal = Journal(tmp_path, "again")
    assert [journal.get(key) for key in ("k1", "k2", "k3")] == [later, ENTRY, ENTRY]


def test_files_of_other_shards_and_files_that_a_live_process_holds_are_not_compacted(tmp_path: Path) -> None:
    write(tmp_path, "k1", writer="1-of-2")
    held = write(tmp_path, "k2", writer="0-of-2")
    write(tmp_path, "k3", writer="0-of-2")
    with held.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert compacted(tmp_path, "0-of-2") == [".jsonl", ".jsonl", ".parquet"]
    assert held.exists()
    journal = Journal(tmp_path, "again")
    assert all(journal.get(key) == ENTRY for key in ("k1", "k2", "k3"))


def test_a_reader_that_knew_the_lines_finds_them_in_the_compacted_file(tmp_path: Path) -> None:
    write(tmp_path, "k1", "k2")
    reader = Journal(tmp_path, "reader")
    compacted(tmp_path)
    assert reader.get("k2") == ENTRY and reader.get("k3") is None


def test_a_full_disk_costs_the_compaction_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "k1", "k2")

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tables, "replacing", full)
        assert compacted(tmp_path) == [".jsonl"]
    assert "No space left" in capsys.readouterr().err
    assert Journal(tmp_path, "again").get("k1") == ENTRY


def test_a_kill_between_compacting_and_removing_the_lines_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "k1")
    write(tmp_path, "k2")
    removed, remove = [], Path.unlink

    def killed_at_the_second(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".jsonl":
            if removed:
                raise KeyboardInterrupt
            removed.append(path)
        remove(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            compacted(tmp_path)
    assert removed and compacted(tmp_path) == [".parquet"]
    journal = Journal(tmp_path, "again")
    assert journal.get("k1") == journal.get("k2") == ENTRY


@pytest.mark.parametrize(
    "completion",
    [
        Completion("half of a pair: \ud83d", 3, "stop"),
        Completion("text", 3_000_000_000, "stop"),
        Completion("text", -1, "stop"),
        Completion("text", float("inf"), "stop"),
        Completion(["text"], 3, "stop"),
    ],
    ids=["surrogate", "three billion tokens", "fewer than none", "endless", "a list"],
)
def test_what_no_table_can_hold_is_not_kept_and_what_was_kept_before_is_sampled_again(
    completion: Completion, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = Entry((completion, completion), ENTRY.verdicts, "1")
    with pytest.raises(ValueError, match="k2"):
        write(tmp_path, "k2", entry=poison)
    with monkeypatch.context() as before:  # as the last release wrote it
        before.setattr(module, "unusable", lambda completion: None)
        write(tmp_path, "k2", entry=poison)
    write(tmp_path, "k1", "k3")
    journal = Journal(tmp_path, "0-of-1")
    assert [journal.get(key) for key in ("k1", "k2", "k3")] == [ENTRY, None, ENTRY]
    assert "k2" in capsys.readouterr().err
    journal.compact()  # the shard ends, and every later run begins
    again = Journal(tmp_path, "0-of-1")
    assert [again.get(key) for key in ("k1", "k2", "k3")] == [ENTRY, None, ENTRY]


def test_no_flipped_bit_of_a_compacted_journal_goes_unnoticed(tmp_path: Path) -> None:
    keys = ["k1", "k2", "k3"]
    write(tmp_path, *keys)
    compacted(tmp_path)
    (path,) = tmp_path.glob("*.parquet")
    whole = path.read_bytes()
    lost = 0
    for place in range(0, len(whole), 5):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        journal = Journal(tmp_path, "again")
        found = [journal.get(key) for key in keys]
        journal.close()
        assert set(found) <= {ENTRY, None}, place
        lost += None in found
        for aside in tmp_path.glob("*.damaged"):
            aside.unlink()
    assert lost > len(whole) / 50


def test_a_compacted_journal_that_was_cut_off_is_named_set_aside_and_sampled_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "k1")
    compacted(tmp_path)
    (path,) = tmp_path.glob("*.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    write(tmp_path, "k2")
    journal = Journal(tmp_path, "again")
    assert [journal.get(key) for key in ("k1", "k2")] == [None, ENTRY]
    said = capsys.readouterr().err
    assert str(path) in said and "damaged" in said
    assert path.with_name(f"{path.name}.damaged").is_file() and not path.exists()


def test_a_compacted_journal_of_the_last_release_is_replayed(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    write(tmp_path, "k1", "k2")
    compacted(tmp_path)
    (path,) = tmp_path.glob("*.parquet")
    pq.write_table(pq.read_table(path).drop_columns(["crc"]), path)
    journal = Journal(tmp_path, "again")
    assert [journal.get(key) for key in ("k1", "k2")] == [ENTRY, ENTRY]
