"""kill -9 of `mmprm judge-labels` at random moments: nothing is lost, and no finished call is paid for twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from chat_server import text_of
from judging import FILES, JudgeServer, Judging, problem, run_config

AT_ONCE = 6
KILLS = 4
PROBLEMS = [problem(number) for number in range(20)]
CALLS = 8 * 16  # every fifth problem is held out


def start(folder: Path, url: str) -> subprocess.Popen[bytes]:
    """The command, as a rule calls it."""
    config = folder / "config.json"
    config.write_text(run_config(url=url, max_concurrent=AT_ONCE).model_dump_json())
    files = dict(zip(("--out", "--dropped", "--counts"), FILES, strict=True))
    options = ["--config", "config.json", "--seeds", "seeds.parquet", "--paths", "paths.parquet", "--work", "work"]
    options += [word for pair in files.items() for word in pair]
    command = [sys.executable, "-c", "from mmprm.cli import app; app()", "judge-labels", *options]
    environment = {**os.environ, "NO_PROXY": "127.0.0.1"}
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stderr=log)


def test_after_kills_the_tables_are_those_of_an_undisturbed_run_and_only_calls_in_flight_are_made_again(
    tmp_path: Path,
) -> None:
    server = JudgeServer(delay=0.03)
    disturbed, whole = tmp_path / "disturbed", tmp_path / "whole"
    for folder in (disturbed, whole):
        folder.mkdir()
    judging = Judging(disturbed, PROBLEMS)
    rng = random.Random(0)
    for _ in range(KILLS):
        process, before = start(disturbed, server.url), len(server.bodies)
        wanted = before + rng.randint(8, 20)
        while len(server.bodies) < wanted:
            assert process.poll() is None, (disturbed / "log").read_text()
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not any((disturbed / name).exists() for name in FILES)
    time.sleep(0.2)  # what the last one had asked for is answered to nobody
    process = start(disturbed, server.url)
    assert process.wait() == 0, (disturbed / "log").read_text()
    calls = Counter((text_of(body), body["seed"]) for body in server.bodies)
    assert len(calls) == CALLS
    assert calls.total() - len(calls) <= KILLS * AT_ONCE
    assert f"{CALLS} calls, " in (disturbed / "log").read_text()

    undisturbed = Judging(whole, PROBLEMS).run(run_config(url=server.url))
    assert judging.bytes == undisturbed.bytes
    assert len(judging.kept) == 16 * 4 + 4 * 8 + 1
    server.close()
