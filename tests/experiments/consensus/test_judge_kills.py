"""kill -9 of `mmprm judge-labels` at random moments: nothing is lost, and no finished call is paid for twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from chat_server import text_of
from first_error_server import JudgeServer
from judging import FILES, Judging, problem, run_config
from killed_callers import KILLS, Command, survive_kills

AT_ONCE = 6
PROBLEMS = [problem(number) for number in range(20)]
CALLS = 8 * 16  # every fifth problem is held out


@pytest.mark.heavy  # tagging/test_tag_kills.py kills the same runner of calls
def test_after_kills_the_tables_are_those_of_an_undisturbed_run_and_only_calls_in_flight_are_made_again(
    tmp_path: Path,
) -> None:
    server = JudgeServer(delay=0.03)
    disturbed, whole = tmp_path / "disturbed", tmp_path / "whole"
    for folder in (disturbed, whole):
        folder.mkdir()
    judging = Judging(disturbed, PROBLEMS)
    config = run_config(url=server.url, max_concurrent=AT_ONCE)
    words = ("judge-labels", "--seeds", "seeds.parquet", "--paths", "paths.parquet")
    command = Command(disturbed, config, words, dict(zip(("--out", "--dropped", "--counts"), FILES, strict=True)))
    survive_kills(command, server, most=20)
    calls = Counter((text_of(body), body["seed"]) for body in server.bodies)
    assert len(calls) == CALLS
    assert calls.total() - len(calls) <= KILLS * AT_ONCE
    assert f"{CALLS} calls, " in command.log

    undisturbed = Judging(whole, PROBLEMS).run(run_config(url=server.url))
    assert judging.bytes == undisturbed.bytes
    assert len(judging.kept) == 16 * 4 + 4 * 8 + 1
    server.close()
