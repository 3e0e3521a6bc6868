"""Scoring of candidates: vLLM, and prefix trees in transformers, against one forward pass a candidate.

In: a run's PRM, problems, candidates and configuration. Out: one JSON line. Each scorer is opened once and warmed up on
one problem; then all score the same candidates, in turn, `--repeats` times, and the medians are compared. The largest
difference of a probability from those of one candidate at a time is reported beside the speeds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from mmprm import config as configuration
from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.data.problem import read_problems
from mmprm.model.step_text import Status
from mmprm.prm.scorers import TransformersScorer, TreeScorer
from mmprm.prm.step_scores import Item, Scorer
from mmprm.prm.vllm_scorer import VllmScorer
from perf.common import finish, machine, need, say, spread, user_errors

Scores = list[list[float]]


def items_of(problems: Path, candidates: Path, count: int) -> list[Item]:
    """Return the parsed candidates of `count` problems, at even distances in the table, problem by problem."""
    by_id = {problem.problem_id: problem for problem in read_problems(problems)}
    rows = defaultdict(list)
    for row in tables.read_rows(candidates, schemas.CANDIDATES):
        if row["status"] == Status.OK:
            rows[row["problem_id"]].append(row)
    chosen = spread(sorted(rows), count, f"of problems with parsed candidates {candidates}")
    return [(by_id[name], tuple(row["steps"]), row["answer"]) for name in chosen for row in rows[name]]


def compare(scorers: dict[str, Scorer], items: list[Item], repeats: int) -> dict[str, Any]:
    """Return speeds, their ratios to the first scorer's, tokens read, and the largest differences of scores."""
    for scorer in scorers.values():
        scorer.score(items[:16])
    seconds: dict[str, list[float]] = {name: [] for name in scorers}
    scores: dict[str, Scores] = {}
    tokens = {}
    names = list(scorers)
    for repeat in range(repeats):
        for name in names:
            before, began = scorers[name].prompt_tokens, time.perf_counter()
            scored = scorers[name].score(items)
            seconds[name].append(time.perf_counter() - began)
            scores[name] = [candidate.probabilities for candidate in scored]
            tokens[name] = scorers[name].prompt_tokens - before
            say(f"{repeat + 1} of {repeats}, {name}: {len(items)} candidates in {seconds[name][-1]:.2f} s")
        names.append(names.pop(0))  # a machine that slows down does so to each alike
    rate = {name: len(items) / statistics.median(values) for name, values in seconds.items()}
    first = next(iter(scorers))
    others = [name for name in scorers if name != first]
    return {
        **{f"{name}_vs_{first}": round(rate[name] / rate[first], 2) for name in others},
        "candidates_per_second": {name: round(value, 1) for name, value in rate.items()},
        "tokens_read": tokens,
        "largest_difference": {
            name: float(f"{largest_difference(scores[first], scores[name]):.2e}") for name in others
        },
    }


def largest_difference(expected: Scores, scores: Scores) -> float:
    """Return the largest difference of a probability."""
    pairs = zip(expected, scores, strict=True)
    return max(abs(a - b) for first, second in pairs for a, b in zip(first, second, strict=True))


def run(config: Config, prm: Path, items: list[Item], repeats: int) -> dict[str, Any]:
    """Open the scorers, compare, and return the result."""
    engine = config.engine
    options = (config.prompt.instruction, engine.dtype, engine.max_model_len)
    say(f"opening three scorers on {prm}")
    scorers: dict[str, Scorer] = {
        "one_by_one": TransformersScorer(prm, *options),
        "trees": TreeScorer(prm, *options),
        "vllm": VllmScorer(config, prm),
    }
    try:
        result = compare(scorers, items, repeats)
    finally:
        for scorer in scorers.values():
            scorer.close()
    problems = len({item[0].problem_id for item in items})
    result |= {"dtype": engine.dtype}
    return result | {"candidates": len(items), "problems": problems, "repeats": repeats, "machine": machine()}


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m perf.scoring", description=__doc__.partition("\n")[0])
    results = Path("results/mini")
    files = {
        "prm": ("prm/soft", "the PRM's folder"),
        "problems-table": ("problems/test.parquet", "a problem table"),
        "candidates": ("bench/test/candidates.parquet", "candidates of these problems"),
        "config": ("config.json", "a resolved configuration"),
    }
    for name, (place, text) in files.items():
        parser.add_argument(f"--{name}", type=Path, default=results / place, help=f"{text} (%(default)s)")
    parser.add_argument("--problems", type=int, default=48, help="how many of the problems (48)")
    parser.add_argument("--repeats", type=int, default=3, help="times that each scorer is run (3)")
    parser.add_argument("--dtype", help="of the weights, in place of the configuration's: float32, bfloat16, float16")
    given = parser.parse_args(arguments)
    if given.repeats < 1 or given.problems < 1:
        parser.error("--repeats and --problems must be at least 1")
    with user_errors("scoring"):
        need(given.prm, given.problems_table, given.candidates, given.config)
        items = items_of(given.problems_table, given.candidates, given.problems)
        config = configuration.read(given.config)
        if given.dtype:
            engine = config.engine.model_copy(update={"dtype": given.dtype})
            config = config.model_copy(update={"engine": engine})
        result = run(config, given.prm, items, given.repeats)
    finish(result)


if __name__ == "__main__":
    main()
