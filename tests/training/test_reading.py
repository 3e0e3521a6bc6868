"""The processes of a node read the weights one after the other; those of ZeRO-3 have to read them together."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: F401  # before the processes are forked, or each imports it

from mmprm.model import folders
from mmprm.training import reading


def _read(start: Path, zero: str | None, log: Path, meeting: Any) -> None:
    """Load as a process of a training does, with a stand-in for the reading itself."""

    def load(folder: Path, dtype: str, device: str = "cpu") -> str:
        begun = time.monotonic()
        if zero == "zero3":
            meeting.wait(60)  # for the other processes, which must be reading too
        with log.open("a") as file:
            time.sleep(0.2)  # as the weights would take
            file.write(f"{begun} {time.monotonic()} {device}\n")
        return "a model"

    folders.load_model = load  # in this process alone
    assert reading.load_in_turn(start, "float32", zero) == "a model"


def intervals(start: Path, zero: str | None, log: Path) -> list[tuple[float, float]]:
    """When each of three processes of a node has read, in the order in which they began."""
    context = multiprocessing.get_context("fork")
    meeting = context.Barrier(3)
    processes = [context.Process(target=_read, args=(start, zero, log, meeting)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    lines = [line.split() for line in log.read_text().splitlines()]
    assert len(lines) == 3 and {line[2] for line in lines} == {"cpu"}
    return sorted((float(begun), float(ended)) for begun, ended, _ in lines)


@pytest.fixture
def one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LOCAL_WORLD_SIZE": "3", "LOCAL_RANK": "0", "CUDA_VISIBLE_DEVICES": ""}.items():
        monkeypatch.setenv(name, value)


def test_one_process_reads_at_a_time(tmp_path: Path, one_node: None) -> None:
    first, second, third = intervals(tmp_path, "zero2", tmp_path / "log")
    assert first[1] <= second[0] and second[1] <= third[0]


def test_the_processes_of_zero_3_read_together(tmp_path: Path, one_node: None) -> None:
    """They gather each tensor with each other while they load: one that waited its turn would wait for ever."""
    assert len(intervals(tmp_path, "zero3", tmp_path / "log")) == 3
