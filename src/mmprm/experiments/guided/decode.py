"""Decode a benchmark by a strategy that a PRM guides. In: problems, policy, PRM. Out: schemas.GUIDED, a row a problem.

The policy samples with the configured engine, by the scheduler and journal of all sampling stages: a killed run samples
nothing twice. The PRM scores in this process with transformers, a problem's states as one prefix tree.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem
from mmprm.data.shards import Shard, read_shard
from mmprm.data.sorted_spill import SortedSpill
from mmprm.experiments.guided.strategies import DecodeResult, Partial, decode
from mmprm.model import folders
from mmprm.prm.score_candidates import check_scores
from mmprm.prm.scorers import Scorer, StepScores, TreeScorer
from mmprm.rollouts.rollout import RequestFactory
from mmprm.rollouts.run import OpenEngine, SamplingJob, run_searches
from mmprm.rollouts.scheduler import SearchResult
from mmprm.runtime.errors import UserError


def decode_guided(
    config: Config,
    strategy: str,
    benchmark: str,
    policy: Path,
    prm: Path,
    problems: Path,
    shard: Shard,
    work: Path,
    out: Path,
    open_engine: OpenEngine | None = None,
    open_scorer: Callable[[], Scorer] | None = None,
) -> None:
    """Write what the strategy (a key of `guided`) chooses for each of the shard's problems, as schemas.GUIDED.

    Of a PRM that was trained on counts, as COUNTED_GUIDED.
    """
    if strategy not in config.guided:
        raise UserError(f"guided: there is no strategy {strategy!r}; allowed: {sorted(config.guided)}")
    settings = config.guided[strategy]
    if open_scorer is None:
        folders.check_manifest(prm)
        engine = config.engine
        scorer: Scorer = TreeScorer(prm, config.prompt.instruction, engine.dtype, engine.max_model_len)
    else:
        scorer = open_scorer()

    counted = folders.trained_on_counts(prm)
    schema = schemas.COUNTED_GUIDED if counted else schemas.GUIDED

    def score(problem: Problem, partials: Sequence[Partial]) -> list[StepScores]:
        items = [(problem, steps, answer) for steps, answer in partials]
        scores = scorer.score(items)
        for item, item_scores in zip(items, scores, strict=True):
            check_scores(item, item_scores)
        return scores

    asker = RequestFactory.of(config, policy, f"guided/{benchmark}")
    usage = tables.usage_path(out)
    job = SamplingJob(f"{benchmark} by {strategy}", config, policy, shard, work, usage, settings.n, open_engine)
    primary = config.bench.primary
    searches = [
        (problem.problem_id, decode(problem, settings, primary, asker, score))
        for problem in read_shard([problems], shard)
    ]
    try:
        with SortedSpill(out.parent, schema) as spool:

            def keep(name: str, outcome: SearchResult) -> str | None:
                result: DecodeResult = outcome.value or DecodeResult()
                spool.add(name, [row(name, result, primary, counted)])
                return outcome.error

            run_searches(job, searches, keep)
            tables.write(out, spool.rows(), schema)
    finally:
        scorer.close()


def row(name: str, result: DecodeResult, primary: str, counted: bool = False) -> dict[str, Any]:
    """Make the row of a problem: the chosen solution (an empty one where there is none), and what it cost."""
    chosen = result.best(primary)
    return {
        "problem_id": name,
        **(chosen.rollout.row() if chosen else schemas.NO_COMPLETION),
        **(chosen.scores if chosen else StepScores()).columns(counted),
        "n_solutions": len(result.solutions),
        "n_correct": sum(solution.rollout.verdict == "correct" for solution in result.solutions),
        "sampled_tokens": result.sampled_tokens,
        "n_requests": result.requests,
    }
