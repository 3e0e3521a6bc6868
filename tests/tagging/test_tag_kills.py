"""kill -9 of `mmprm tag` at random moments: nothing is lost, and no finished call is paid for twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from killed_callers import KILLS, Command, survive_kills
from tagging_server import FILES, ChatServer, Tagging, problem, run_config

AT_ONCE = 6
PROBLEMS = [problem(number) for number in range(90)]


@pytest.mark.heavy
def test_after_kills_the_tables_are_those_of_an_undisturbed_run_and_only_calls_in_flight_are_made_again(
    tmp_path: Path,
) -> None:
    server = ChatServer(delay=0.03)
    disturbed, whole = tmp_path / "disturbed", tmp_path / "whole"
    for folder in (disturbed, whole):
        folder.mkdir()
    tagging = Tagging(disturbed, PROBLEMS)
    config = run_config({"url": server.url, "max_concurrent": AT_ONCE})
    words = ("tag", "--source", "tagged", "--problems", "raw.parquet")
    command = Command(disturbed, config, words, dict(zip(("--out", "--refused", "--counts"), FILES, strict=True)))
    survive_kills(command, server, most=25)
    calls = Counter(server.calls())
    assert len(calls) == 2 * len(PROBLEMS)
    assert calls.total() - len(calls) <= KILLS * AT_ONCE
    assert "180 calls, " in command.log

    undisturbed = Tagging(whole, PROBLEMS).run(run_config({"url": server.url}))
    assert tagging.bytes == undisturbed.bytes
    assert len(tagging.solutions) == len(PROBLEMS)
    server.close()
