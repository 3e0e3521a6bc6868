"""Which of a user's SLURM jobs are those of a killed Snakemake; that they end is tested in tests/slurm."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmprm.runtime import slurm_orphans
from mmprm.runtime.errors import UserError

RUN = "1b671a64-40d5-491e-99b0-da01ff1f3341"


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the rows of an `squeue` that stands in PATH; its `scancel` takes the jobs' rows away."""
    commands, rows = tmp_path / "bin", tmp_path / "rows"
    commands.mkdir()
    (commands / "squeue").write_text(f'#!/bin/sh\n[ "$*" = "--me --noheader --format=%i|%j|%Z" ] && cat {rows}\n')
    (commands / "scancel").write_text(f'#!/bin/sh\nfor job in "$@"; do sed -i "/^$job|/d" {rows}; done\n')
    for command in commands.iterdir():
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    return rows


def test_only_what_snakemake_submitted_from_this_folder_is_cancelled(queue: Path, tmp_path: Path) -> None:
    other = [f"3|mmprm_{RUN}|{tmp_path}/elsewhere", f"4|training|{tmp_path}", f"5|notebook-{RUN[:8]}|{tmp_path}"]
    queue.write_text("\n".join([f"1|mmprm_{RUN}|{tmp_path}", f"2|{RUN}|{tmp_path}", *other]) + "\n")
    assert slurm_orphans.cancel(tmp_path) == ["1", "2"]
    assert queue.read_text().splitlines() == other
    assert slurm_orphans.cancel(tmp_path) == []


def test_a_job_that_does_not_end_is_named(queue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_orphans, "_PATIENCE", 0.1)
    (tmp_path / "bin/scancel").write_text("#!/bin/sh\n")
    queue.write_text(f"7|{RUN}|{tmp_path}\n")
    with pytest.raises(UserError, match=r"jobs 7 of an earlier run .* have not ended"):
        slurm_orphans.cancel(tmp_path)


def test_without_slurm_the_message_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="--profile slurm needs SLURM's commands"):
        slurm_orphans.cancel(tmp_path)
