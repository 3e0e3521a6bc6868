"""kill -9 of the adaptive seed filter at random moments: nothing is lost, and nothing is drawn twice."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from scripted_engine import ToyPolicy, toy_problem
from toy_world import SlowEngine, policy_folder, rows, toy_config
from waiting import kill_own_process_when

from mmprm.data.problem import write_problems
from mmprm.data.shards import Shard
from mmprm.seeds.sample import sample_seeds

SEEDS = {"sources": ["toy"], "rollouts": 24, "adaptive": True, "block": 3, "min_pass_rate": 0.2, "stop_confidence": 0.9}
CONFIG = toy_config(seeds=SEEDS, engine={"open_problems": 8})
AT_ONCE, KILLS = 2, 6


def start(folder: Path, seed: int, delay: float | None = None) -> BaseProcess:
    """The stage in a process of its own, which kills itself `delay` seconds after it has begun to sample."""

    def work() -> None:
        if delay is not None:
            kill_own_process_when((folder / f"sampled-{os.getpid()}").exists, delay)
        os.dup2(os.open(folder / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND), 2)
        engine = SlowEngine(ToyPolicy(error=0.3), folder / f"sampled-{os.getpid()}", seed, AT_ONCE)
        problems = [folder / "problems.parquet"]
        sample_seeds(CONFIG, folder / "policy", problems, Shard(), folder / "work", folder / "out", lambda: engine)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


@pytest.mark.heavy  # rollouts/test_kills.py kills the same journal
def test_a_filter_that_is_killed_again_and_again_draws_nothing_twice(tmp_path: Path) -> None:
    for name in ("disturbed", "whole"):
        policy_folder(tmp_path / name / "policy")
        write_problems(tmp_path / name / "problems.parquet", [toy_problem(number) for number in range(60)])
    whole = start(tmp_path / "whole", 0)
    whole.join()
    assert whole.exitcode == 0
    disturbed, rng = tmp_path / "disturbed", random.Random(1)
    for attempt in range(KILLS):
        process = start(disturbed, attempt, rng.uniform(0, 0.03))
        process.join()
        assert process.exitcode == -signal.SIGKILL, "the pool is too small for so many kills"
        assert not (disturbed / "out").exists()
    last = start(disturbed, 99)
    last.join()
    assert last.exitcode == 0
    assert rows(disturbed / "out") == rows(tmp_path / "whole" / "out")
    sampled = Counter(key for path in disturbed.glob("sampled-*") for key in path.read_text().split())
    once = {key for path in (tmp_path / "whole").glob("sampled-*") for key in path.read_text().split()}
    assert set(sampled) == once
    # At a kill, at most one step's requests were sampled and not yet in the journal.
    assert sum(times - 1 for times in sampled.values()) <= AT_ONCE * KILLS
