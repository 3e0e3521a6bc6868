"""Decode a benchmark by strategies that a PRM guides, and measure them. In: problems, policy, PRM; candidates, scores.

Out: schemas.GUIDED, a row a problem; guided.json. The policy samples with the configured engine, scheduler and journal:
a killed run samples nothing twice. The PRM scores in this process, a problem's states as one prefix tree.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem
from mmprm.data.shards import Shard, read_shard
from mmprm.data.sorted_spill import SortedSpill
from mmprm.evaluation import votes
from mmprm.evaluation.best_of_n import expected_accuracy, oracle, sizes
from mmprm.evaluation.candidates import Candidates, candidates_by_problem, candidates_of, join_scores
from mmprm.evaluation.intervals import intervals
from mmprm.experiments.guided.strategies import DecodeResult, Partial, decode
from mmprm.grading import Verdict
from mmprm.model import folders
from mmprm.prm.score_candidates import check_scores
from mmprm.prm.scorers import TreeScorer
from mmprm.prm.step_scores import Scorer, StepScores
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


def measure_guided(
    config: Config,
    benchmark: str,
    variant: str,
    problems: Path,
    candidates: Path,
    scores: Path,
    decoded: Sequence[Path],
    out: Path,
) -> None:
    """Write guided.json. `decoded`: tables of schemas.GUIDED, of all shards, each in a folder named by its strategy.

    A row is {strategy, n, problems, tokens, accuracy, oracle, minus_best_of_n}: `tokens` are those that are sampled for
    a problem; the others are {value, ci_low, ci_high}, fractions over problems (differences are paired). `best_of_n`
    and `majority` at every n are listed too; their tokens are n times those of a candidate. What the PRM reads is not
    counted: it reads each state once, in one forward pass, where the policy takes one for each token.

    A problem that has no verdict, in the candidates or by a strategy, is left out of what would need it. Raises
    UserError where a strategy's problems are not those of the benchmark.
    """
    bench = config.bench
    by_id, rows_of = candidates_by_problem(problems, candidates)
    rows_of = join_scores(rows_of, scores)
    every = {name: candidates_of(by_id[name], rows) for name, rows in rows_of.items()}
    counted = {name: one for name, one in every.items() if one is not None}
    tokens = {name: float(np.mean([row["n_tokens"] or 0 for row in rows_of[name]])) for name in counted}
    rows = []
    for n in sizes(bench.n):
        baselines = _baselines(counted, tokens, bench.primary, n)
        for rule in ("best_of_n", "majority"):
            rows.append(_measured(config, rule, n, baselines.assign(accuracy=baselines[rule])))
    for strategy in dict.fromkeys(path.parent.name for path in decoded):
        files = [path for path in decoded if path.parent.name == strategy]
        table = pd.DataFrame(tables.read_rows(files, schemas.GUIDED), columns=schemas.GUIDED.names)
        if sorted(table["problem_id"]) != sorted(by_id):
            raise UserError(f"guided {strategy}: its problems are not those of {problems}; is a shard missing?")
        table = table[table["verdict"] != Verdict.UNDECIDED].set_index("problem_id")
        n = config.guided[strategy].n
        measures = {
            "tokens": table["sampled_tokens"],
            "accuracy": table["verdict"] == Verdict.CORRECT,
            "oracle": table["n_correct"] > 0,
        }
        baselines = _baselines(counted, tokens, bench.primary, n)[["group", "best_of_n"]]
        rows.append(_measured(config, strategy, n, baselines.join(pd.DataFrame(measures).astype(float), how="inner")))
    names = {"benchmark": benchmark, "variant": variant}
    tables.write_json(out, names | {"primary": bench.primary, "confidence": bench.confidence, "rows": rows})


def _baselines(counted: Mapping[str, Candidates], tokens: Mapping[str, float], primary: str, n: int) -> pd.DataFrame:
    """Compute Best-of-N by the primary aggregate, majority and oracle at n, a row a problem.

    A problem with fewer candidates uses all it has.
    """
    rows = []
    for name, candidates in counted.items():
        k, correct = min(n, candidates.size), candidates.correct[None]
        best = float(expected_accuracy(candidates.scores[primary][None], correct, k)[0])
        majority = votes.majority(candidates.keys, k)
        rows.append((candidates.group, n * tokens[name], best, majority, float(oracle(correct, k)[0])))
    return pd.DataFrame(rows, index=list(counted), columns=["group", "tokens", "best_of_n", "majority", "oracle"])


def _measured(config: Config, strategy: str, n: int, measures: pd.DataFrame) -> dict[str, Any]:
    """Make a row of guided.json from the columns group, tokens, accuracy, oracle and best_of_n, a row a problem."""
    if measures.empty:
        raise UserError(f"guided {strategy}: no problem has a verdict; was the grader working?")
    shares = measures[["accuracy", "oracle"]].assign(minus_best_of_n=measures["accuracy"] - measures["best_of_n"])
    how = (config.bench.confidence, config.bench.resamples, config.seed, measures["group"].tolist())
    row: dict[str, Any] = {"strategy": strategy, "n": n, "problems": len(measures)}
    tokens = (["tokens"], *intervals(measures["tokens"].to_numpy(), *how))
    for parts in (tokens, (shares.columns, *intervals(shares.to_numpy().T, *how, [False, False, True]))):
        for name, *ends in zip(*parts, strict=True):
            row[name] = dict(zip(("value", "ci_low", "ci_high"), map(_known, ends), strict=True))
    return row


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
