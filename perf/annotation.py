"""Annotation over one vLLM engine: the scheduler against the public code's loop, lock-step rounds, and the ceiling.

In: a run's policy, seed problems and configuration. Out: one JSON line. A label is a probed state (its MC value). The
ceiling is the engine alone: the very requests that the scheduler made, submitted at once and stepped until it is empty.

The engine is opened once and warmed up; each arm starts with empty caches (vLLM's prefix, image and encoder caches).
Arms are repeated in turn, each time from another one on, and the medians are compared: labels/s against the loops,
tokens/s against the ceiling. The public code's loop takes a part of the problems in each repeat: it works on one at a
time, so that their number does not change its rate.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmprm import config as configuration
from mmprm.annotation.tree import Tree
from mmprm.config import Config
from mmprm.data.problem import read_problems
from mmprm.engine.base import Request
from mmprm.engine.vllm_engine import VllmEngine
from mmprm.rollouts.rollout import RequestFactory
from perf.common import finish, machine, need, say, spread, user_errors
from perf.loops import Task, complete, lock_step, scheduled, sequential

_WARM_UP = 4  # problems


@dataclass(frozen=True)
class Measured:
    """What one arm did in one repeat."""

    labels: int
    rollouts: int
    tokens: int
    seconds: float


def measure(engine: VllmEngine, arm: Callable[[], Sequence[Tree]]) -> Measured:
    """Run an arm with empty caches. The ceiling has no trees, hence no labels."""
    empty_caches(engine)
    gc.collect()
    before = replace(engine.stats)
    began = time.perf_counter()
    trees = arm()
    seconds = time.perf_counter() - began
    return Measured(
        labels=sum(len(tree.nodes) for tree in trees),
        rollouts=engine.stats.completions - before.completions,
        tokens=engine.stats.generated_tokens - before.generated_tokens,
        seconds=seconds,
    )


def empty_caches(engine: VllmEngine) -> None:
    """Forget all prefixes and images; RuntimeError where vLLM still holds blocks of an earlier arm."""
    vllm = engine._model.engine
    if not vllm.reset_prefix_cache():
        raise RuntimeError("vLLM did not empty its prefix cache: requests of an earlier arm are still running")
    engine._model.forget_images()
    vllm.reset_encoder_cache()


def compare(engine: VllmEngine, task: Task, repeats: int) -> dict[str, list[Measured]]:
    """Run all arms `repeats` times in turn; the sequential loop has one part of the problems in each repeat."""
    say(f"warm-up: {_WARM_UP} problems")
    lock_step(replace(task, problems=task.problems[:_WARM_UP]), engine)
    parts = [replace(task, problems=task.problems[repeat::repeats]) for repeat in range(repeats)]
    asked: dict[str, Request] = {}

    def ceiling() -> list[Tree]:
        complete(engine, list(asked.values()))
        return []

    arms: dict[str, Callable[[], list[Tree]]] = {
        "sequential": lambda: sequential(parts.pop(), engine),
        "lockstep": lambda: lock_step(task, engine),
        "ours": lambda: scheduled(task, engine, asked),
        "ceiling": ceiling,
    }
    results: dict[str, list[Measured]] = {name: [] for name in arms}
    names = list(arms)
    for repeat in range(repeats):
        for name in names:
            run = measure(engine, arms[name])
            results[name].append(run)
            say(
                f"{repeat + 1} of {repeats}, {name}: {run.labels} labels, {run.rollouts} rollouts, {run.tokens} tokens "
                f"in {run.seconds:.1f} s, {run.tokens / run.seconds:.0f} tokens/s"
            )
        names.append(names.pop(0))  # a machine that slows down does so to each arm alike
    return results


def summarise(results: dict[str, list[Measured]]) -> dict[str, Any]:
    """Return medians of the rates, and their ratios."""
    tokens = {name: statistics.median(m.tokens / m.seconds for m in arm) for name, arm in results.items()}
    labels = {name: statistics.median(m.labels / m.seconds for m in arm) for name, arm in results.items()}
    del labels["ceiling"]  # it has no trees
    return {
        "vs_sequential": round(labels["ours"] / labels["sequential"], 2),
        "vs_lockstep": round(labels["ours"] / labels["lockstep"], 3),
        "vs_engine_ceiling": round(tokens["ours"] / tokens["ceiling"], 3),
        "tokens_per_second": {name: round(rate) for name, rate in tokens.items()},
        "labels_per_second": {name: round(rate, 1) for name, rate in labels.items()},
    }


def run(config: Config, policy: Path, seeds: Path, count: int, repeats: int) -> dict[str, Any]:
    """Open the engine, compare, and return the result."""
    problems = spread(sorted(read_problems(seeds), key=lambda problem: problem.problem_id), count, "the table")
    requests = RequestFactory.of(config, policy, "annotation")
    task = Task(problems, config.annotation, requests, config.engine.open_problems)
    say(f"opening vLLM on {policy}")
    engine = VllmEngine(config, policy)
    try:
        result = summarise(compare(engine, task, repeats))
        return result | {"problems": count, "repeats": repeats, "machine": machine()}
    finally:
        engine.close()


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m perf.annotation", description=__doc__.partition("\n")[0])
    run_folder = Path("results/mini")
    parser.add_argument("--policy", type=Path, default=run_folder / "policy", help="the policy's folder (%(default)s)")
    parser.add_argument(
        "--seeds", type=Path, default=run_folder / "seeds/seeds.parquet", help="seed problems (%(default)s)"
    )
    parser.add_argument(
        "--config", type=Path, default=run_folder / "config.json", help="a resolved configuration (%(default)s)"
    )
    parser.add_argument("--problems", type=int, default=96, help="how many of the seeds (96)")
    parser.add_argument("--repeats", type=int, default=5, help="times that each arm is run (5)")
    given = parser.parse_args(arguments)
    if not 1 <= given.repeats <= given.problems:
        parser.error("--repeats must be at least 1, and at most --problems")
    with user_errors("annotation"):
        need(given.policy, given.seeds, given.config)
        result = run(configuration.read(given.config), given.policy, given.seeds, given.problems, given.repeats)
    finish(result)


if __name__ == "__main__":
    main()
