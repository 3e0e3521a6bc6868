"""The journal: what was written is found again, whoever wrote it, and damage costs one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from toy_world import completions

from mmprm.annotation.journal import Entry, Journal

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
        "import os, signal, sys; from pathlib import Path; from mmprm.annotation.journal import *\n"
        "journal = Journal(Path(sys.argv[1]), 'x')\n"
        "for i in range(20): journal.append(f'k{i}', Entry((), (), '1'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, env=dict(os.environ))
    assert done.returncode == -9
    assert len(Journal(tmp_path, "again")) == 20
