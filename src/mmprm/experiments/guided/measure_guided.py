"""What guided strategies reach, and what they cost, beside Best-of-N. In: their tables, candidates. Out: guided.json.

A row is {strategy, n, problems, tokens, accuracy, oracle, minus_best_of_n}: `tokens` are those sampled a problem; the
others are {value, ci_low, ci_high}, fractions over problems (differences are paired). `best_of_n` and `majority` at
every n are listed too; their tokens are n times those of a candidate. What the PRM reads is not counted: it reads each
state once, in one forward pass, where the policy takes one for each token.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.evaluation import votes
from mmprm.evaluation.best_of_n import expected_accuracy, oracle, sizes
from mmprm.evaluation.candidates import Candidates, candidates_by_problem, candidates_of, join_scores
from mmprm.evaluation.intervals import intervals
from mmprm.grading import Verdict
from mmprm.runtime.errors import UserError

Row = dict[str, Any]


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
            rows.append(_row(config, rule, n, baselines.assign(accuracy=baselines[rule])))
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
        rows.append(_row(config, strategy, n, baselines.join(pd.DataFrame(measures).astype(float), how="inner")))
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


def _row(config: Config, strategy: str, n: int, measures: pd.DataFrame) -> Row:
    """Make a row of guided.json from the columns group, tokens, accuracy, oracle and best_of_n, a row a problem."""
    if measures.empty:
        raise UserError(f"guided {strategy}: no problem has a verdict; was the grader working?")
    values = measures[["tokens", "accuracy", "oracle"]].assign(
        minus_best_of_n=measures["accuracy"] - measures["best_of_n"]
    )
    bench = config.bench
    ends = intervals(values.to_numpy().T, bench.confidence, bench.resamples, config.seed, measures["group"].tolist())
    row: Row = {"strategy": strategy, "n": n, "problems": len(measures)}
    for name, mean, low, high in zip(values.columns, *ends, strict=True):
        row[name] = {"value": float(mean), "ci_low": float(low), "ci_high": float(high)}
    return row
