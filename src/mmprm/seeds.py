"""Chooses the problems that are worth a tree: those that the policy solves sometimes (OmegaPRM, section 3.1).

In: problems and their seed rollouts. Out: the kept problems, and a decision with its reason for each problem.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from pathlib import Path

from mmprm import tables
from mmprm.annotation.progress import say
from mmprm.annotation.tree import Counts, count
from mmprm.config import Config
from mmprm.problem import write_problems
from mmprm.shard import Shard, read_shard


def select_seeds(config: Config, problems: list[Path], rollouts: list[Path], seeds: Path, decisions: Path) -> None:
    """Keep problems with some and not all rollouts right; at most `config.seeds.max_seeds`, chosen by a hash.

    Raises UserError where a problem id occurs twice over the tables of `problems`.
    """
    everything = read_shard(problems, Shard())
    verdicts: dict[str, list[str]] = defaultdict(list)
    failed: set[str] = set()
    columns = ("problem_id", "verdict", "finish_reason")
    parts = (part for path in rollouts for part in tables.batches(path, tables.SEED_ROLLOUTS, columns))
    for row in (row for part in parts for row in part.to_pylist()):
        verdicts[row["problem_id"]].append(row["verdict"])
        if row["finish_reason"] == "error":
            failed.add(row["problem_id"])
    counts = {problem.problem_id: count(verdicts[problem.problem_id]) for problem in everything}
    reasons = {name: "failed" if name in failed or not verdicts[name] else decide(counts[name]) for name in counts}
    kept = sorted((name for name, reason in reasons.items() if reason == "kept"), key=lambda n: _draw(config.seed, n))
    for name in kept[config.seeds.max_seeds :] if config.seeds.max_seeds else []:
        reasons[name] = "over_limit"
    rows = [
        {
            "problem_id": problem.problem_id,
            "source": problem.source,
            **vars(counts[problem.problem_id]),
            "kept": reasons[problem.problem_id] == "kept",
            "reason": reasons[problem.problem_id],
        }
        for problem in everything
    ]
    tables.write(decisions, rows, tables.SEED_DECISIONS)
    write_problems(seeds, [problem for problem in everything if reasons[problem.problem_id] == "kept"])
    shares = ", ".join(f"{times} {reason}" for reason, times in sorted(Counter(reasons.values()).items()))
    say(f"seeds: of {len(everything)} problems {shares}")


def decide(counts: Counts) -> str:
    """kept, none_right, all_right; undecided where rollouts without a verdict could turn none or all into some."""
    if 0 < counts.n_correct < counts.n_rollouts:
        return "kept"
    if counts.n_undecided:
        return "undecided"
    return "none_right" if counts.n_correct == 0 else "all_right"


def _draw(seed: int, problem_id: str) -> bytes:
    return hashlib.sha256(f"{seed}\x1f{problem_id}".encode()).digest()
