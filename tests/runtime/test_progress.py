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
from mmprm.runtime.progress import Progress, Reading, duration, read_progress


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


@pytest.mark.parametrize(
    ("total", "details"),
    [(400, ""), (None, ""), (400, "loss 0.4102, 0.12 updates/s, 5 min left"), (None, "12 rows/s")],
)
def test_a_line_of_a_log_is_read_back(
    clock: list[float], capsys: pytest.CaptureFixture[str], total: int | None, details: str
) -> None:
    with Progress("paths (train)", total, "row groups") as report:
        clock[0] = 10.0
        report.update(41, details)
    assert read_progress(capsys.readouterr().err) == Reading("paths (train)", 41, total, "row groups", details)


@pytest.mark.parametrize(
    ("details", "seconds", "rates"),
    [
        ("loss 0.4102, 0.12 updates/s, 45 s left", 45, "loss 0.4102, 0.12 updates/s"),
        ("7 rollouts/s, at most 3.5 h left", 12_600, "7 rollouts/s"),
        ("loss 0.4102, unknown time left", None, "loss 0.4102"),
    ],
)
def test_the_time_left_is_read_from_the_details(details: str, seconds: float | None, rates: str) -> None:
    reading = Reading("policy", 1, 2, "updates", details)
    assert (reading.seconds_left, reading.rates) == (seconds, rates)


@pytest.mark.parametrize(
    "line",
    [
        "mmprm: annotation 0-of-1: the journal holds 7 finished requests",
        "mmprm: annotation 0-of-1: 24 problems (0 failed) in 3.0 s; sampled 96 completions, 900 tokens; replayed 0",
        "mmprm: cross-check: 4 candidates, largest difference 4.74e-07",
        "mmprm: curation: 24 of 24 problems kept, 0 held out, 0 refused",
        "mmprm annotate: seeds.parquet is empty",
        "",
    ],
)
def test_other_lines_are_no_progress(line: str) -> None:
    assert read_progress(line) is None
