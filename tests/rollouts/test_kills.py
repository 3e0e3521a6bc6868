"""kill -9 of an annotation shard at twenty random moments, and two processes that run one shard by mistake."""

from __future__ import annotations

import functools
import multiprocessing
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from scripted_engine import ToyPolicy, toy_problem
from toy_world import SlowEngine, policy_folder, rows, toy_config
from waiting import kill_own_process_when

from mmprm.annotation.annotate import annotate
from mmprm.data.problem import write_problems
from mmprm.data.shards import Shard

CONFIG = toy_config(engine={"open_problems": 8})
PROBLEMS = [toy_problem(number) for number in range(60)]
KILLS = 20


def start(folder: Path, seed: int = 0, kill: Callable[[], object] | None = None, delay: float = 0.0) -> BaseProcess:
    """A shard in a process of its own, which kills itself some seconds after `kill` is first true."""

    def work() -> None:
        if kill is not None:
            kill_own_process_when(kill, delay)
        os.dup2(os.open(folder / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND), 2)
        inputs = folder / "policy", folder / "seeds.parquet"
        engine = SlowEngine(ToyPolicy(garbage=0.05), folder / f"sampled-{os.getpid()}", seed, 3)
        annotate(CONFIG, *inputs, Shard(), folder / "work", folder / "out", lambda: engine)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


def tables_of(folder: Path) -> list[list[dict]]:
    return [rows(folder / "out" / f"{name}.parquet") for name in ("nodes", "rollouts", "status")]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Inputs for a disturbed and for an undisturbed run, which has ended."""
    for name in ("disturbed", "whole"):
        policy_folder(tmp_path / name / "policy")
        write_problems(tmp_path / name / "seeds.parquet", PROBLEMS)
    process = start(tmp_path / "whole")
    process.join()
    assert process.exitcode == 0
    return tmp_path / "disturbed", tmp_path / "whole"


def test_after_twenty_kills_at_random_moments_the_tables_are_those_of_an_undisturbed_run(
    folders: tuple[Path, Path],
) -> None:
    disturbed, whole = folders
    rng = random.Random(0)
    killed = 0

    def journals() -> int:
        return len(list((disturbed / "work").glob("*.jsonl")))

    for attempt in range(KILLS):
        early, delay = rng.random() < 0.2, rng.uniform(0, 0.05)
        begun = functools.partial(lambda before: journals() > before, killed)  # it has begun to sample
        process = start(disturbed, attempt, (lambda: True) if early else begun, delay)
        process.join()
        assert process.exitcode == -signal.SIGKILL, "the shard is too small for so many kills"
        killed += journals() > killed
        assert not (disturbed / "out").exists() or not list((disturbed / "out").glob("*.parquet"))
    assert killed >= KILLS // 2, "most kills hit a shard that had begun to sample"
    lines = [line for path in (disturbed / "work").glob("*.jsonl") for line in path.read_bytes().splitlines()]
    process = start(disturbed)
    process.join()
    assert process.exitcode == 0
    assert tables_of(disturbed) == tables_of(whole)
    assert len(lines) > 20, "what the killed ones had finished was there for the last one"
    # At a kill, at most one step's requests were sampled and not yet in the journal.
    sampled = Counter(key for path in disturbed.glob("sampled-*") for key in path.read_text().split())
    assert sum(times - 1 for times in sampled.values()) <= 3 * KILLS


def test_two_processes_that_run_the_same_shard_do_no_harm_and_sample_nothing_twice(
    folders: tuple[Path, Path],
) -> None:
    disturbed, whole = folders
    processes = [start(disturbed, seed) for seed in (1, 2)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert tables_of(disturbed) == tables_of(whole)
    sampled = [key for path in disturbed.glob("sampled-*") for key in path.read_text().split()]
    assert len(sampled) == len(set(sampled)) > 0
    again = start(disturbed)
    again.join()
    assert again.exitcode == 0 and tables_of(disturbed) == tables_of(whole)
