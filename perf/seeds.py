"""What the adaptive stop of the seed filter saves, and how often it changes a decision.

In: seed rollouts of a run that drew all of each problem, or a pool that is drawn here with known pass rates. Out: one
JSON line: for each setting the shares of rollouts and tokens saved, and how many problems are kept or dropped
contrary to what all rollouts decide. Nothing is sampled: the stop is replayed over the rollouts that were drawn.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

from mmprm.data import schemas, tables
from mmprm.rollouts.rollout import count
from mmprm.seeds.pass_rate import KEPT, Rule
from perf.common import finish, machine, need, user_errors

Pool = dict[str, list[tuple[str, int]]]  # problem -> (verdict, tokens) of its rollouts in their order

# name -> low, high, confidence of the stop by the bounds
SETTINGS: dict[str, tuple[float, float, float | None]] = {
    "some right, some wrong": (0.0, 1.0, None),
    "0.2 to 0.8, certain": (0.2, 0.8, None),
    "0.2 to 0.8, at 0.95": (0.2, 0.8, 0.95),
    "0.2 to 0.8, at 0.8": (0.2, 0.8, 0.8),
}


def drawn(problems: int, rollouts: int, seed: int) -> Pool:
    """Draw problems with pass rates from Beta(1/2, 1/2): most are nearly always or nearly never solved."""
    rng = random.Random(seed)
    pool: Pool = {}
    for number in range(problems):
        rate = rng.betavariate(0.5, 0.5)
        pool[str(number)] = [("correct" if rng.random() < rate else "incorrect", 1) for _ in range(rollouts)]
    return pool


def read(paths: list[Path]) -> Pool:
    """Read the rollouts of seeds/<shard>/rollouts.parquet without those with blank pictures."""
    pool: Pool = defaultdict(list)
    for path in paths:
        for row in tables.read(path, schemas.SEED_ROLLOUTS).sort_by("attempt").to_pylist():
            if not row["blank"]:
                pool[row["problem_id"]].append((row["verdict"], row["n_tokens"]))
    return pool


def replay(pool: Pool, rule: Rule, block: int) -> dict[str, Any]:
    """Compare the stop, tested after each block, with all rollouts of each problem."""
    used = used_tokens = all_tokens = kept = otherwise = 0
    for rollouts in pool.values():
        verdicts = [verdict for verdict, _ in rollouts]
        size, stop = 0, None
        while stop is None:
            size = min(size + block, len(verdicts))
            stop = rule.stop(count(verdicts[:size]))
        keep = rule.decide(count(verdicts)) == KEPT
        used += size
        used_tokens += sum(tokens for _, tokens in rollouts[:size])
        all_tokens += sum(tokens for _, tokens in rollouts)
        kept += keep
        otherwise += (stop[0] == KEPT) != keep
    return {
        "saved_rollouts": round(1 - used / sum(map(len, pool.values())), 4),
        "saved_tokens": round(1 - used_tokens / all_tokens, 4),
        "kept_by_all_rollouts": kept,
        "decided_otherwise": otherwise,
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m perf.seeds", description=__doc__.partition("\n")[0])
    parser.add_argument("rollouts", type=Path, nargs="*", help="seeds/<shard>/rollouts.parquet; default: a drawn pool")
    parser.add_argument("--blocks", type=int, nargs="+", default=[1, 4, 8], help="rollouts drawn at a time (1 4 8)")
    parser.add_argument("--problems", type=int, default=2000, help="of the drawn pool (2000)")
    parser.add_argument("--draws", type=int, default=32, help="rollouts of each problem of the drawn pool (32)")
    given = parser.parse_args(arguments)
    with user_errors("seeds"):
        need(*given.rollouts)
        pool = read(given.rollouts) if given.rollouts else drawn(given.problems, given.draws, 0)
    most = max(map(len, pool.values()))
    settings = {
        f"{name}, blocks of {block}": replay(pool, Rule(most, *bounds), block)
        for name, bounds in SETTINGS.items()
        for block in given.blocks
    }
    finish({"problems": len(pool), "rollouts": most, "settings": settings, "machine": machine()})


if __name__ == "__main__":
    main()
