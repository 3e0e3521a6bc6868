"""Messages and progress: plain lines in a log, rich's bar and format on a terminal."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import pytest

from mmprm.runtime import log as logging
from mmprm.runtime import progress
from mmprm.runtime.log import log
from mmprm.runtime.progress import Progress, duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    for cached in (logging.console, logging._rich_handler):
        cached.cache_clear()
    return Terminal()


def test_a_message_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    log.info("labels: 3 paths")
    assert tuple(capsys.readouterr()) == ("", "mmprm: labels: 3 paths\n")


def test_a_log_gets_a_line_every_ten_seconds(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    report = Progress("annotation 0-of-1", 4, "problems")
    for second in range(35):
        clock[0] = float(second)
        report.update(0, f"{second} rollouts/s")
    assert capsys.readouterr().err.count("mmprm: annotation 0-of-1: 0 of 4 problems, ") == 3


def test_a_count_without_a_known_total(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("pool", None, "rows") as report:
        clock[0] = 10.0
        report.update(7)
    assert capsys.readouterr().err == "mmprm: pool: 7 rows\n"


def test_a_terminal_gets_a_bar_and_messages_above_it(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("seeds", 4, "problems") as report:
        report.update(1, "5 rollouts/s")
        log.info("toy-0001: failed")
        report.update(4, "6 rollouts/s")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert "toy-0001: failed" in text and "mmprm:" not in text
    assert "4/4 problems 6 rollouts/s" in text.splitlines()[-1]


def test_rich_is_imported_for_a_terminal_only() -> None:
    code = "import sys, mmprm.runtime.progress as p; p.log.info('x'); print('rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False\n", "mmprm: x\n")


@pytest.mark.parametrize(("seconds", "text"), [(45, "45 s"), (720, "12 min"), (12_600, "3.5 h")])
def test_a_duration_is_written_in_its_own_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text
