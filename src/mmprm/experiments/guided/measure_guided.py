"""What guided strategies reach, and what they cost, beside Best-of-N. In: their tables, candidates. Out: guided.json.

A row is {strategy, n, problems, tokens, accuracy, minus_best_of_n, oracle}: `tokens` are those sampled a problem; the
others are {value, ci_low, ci_high}, fractions over problems (differences are paired). Beside the strategies stand
`best_of_n` and `majority` at every n, whose tokens are n times those of a candidate. What the PRM reads is not counted:
it reads each state once, in one forward pass, where the policy takes one for each token.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.data.problem import problems_by_id
from mmprm.evaluation import bon, votes
from mmprm.evaluation.candidates import Candidates, by_problem, counted_candidates, join_scores
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
    """Write guided.json. `decoded`: tables of schemas.GUIDED, of all shards, each in a folder called by its strategy.

    A problem that has no verdict, in the candidates or by a strategy, is left out of what would need it. Raises
    UserError where a strategy's problems are not those of the benchmark.
    """
    by_id = problems_by_id(problems)
    sampled = by_problem(tables.read_rows(candidates, schemas.CANDIDATES), by_id, candidates, problems)
    groups = join_scores(sampled, scores)
    every = {name: counted_candidates(by_id[name], rows) for name, rows in groups.items()}
    counted = {name: one for name, one in every.items() if one is not None}
    tokens = {name: float(np.mean([row["n_tokens"] or 0 for row in rows])) for name, rows in groups.items()}
    measures = _Measures(config, counted)
    rows = []
    for n in bon.sizes(config.bench.n):
        best, oracle = measures.best_of(n), measures.oracle(n)
        costs = {name: n * tokens[name] for name in counted}
        for strategy, values in (("best_of_n", best), ("majority", measures.majority(n))):
            rows.append(measures.row(strategy, n, values, costs, best, oracle))
    for strategy in dict.fromkeys(path.parent.name for path in decoded):
        found = tables.read_rows([path for path in decoded if path.parent.name == strategy], schemas.GUIDED)
        if sorted(row["problem_id"] for row in found) != sorted(by_id):
            raise UserError(f"guided {strategy}: its problems are not those of {problems}; is a shard missing?")
        by_name = {row["problem_id"]: row for row in found if row["verdict"] != Verdict.UNDECIDED}
        right = {name: float(row["verdict"] == Verdict.CORRECT) for name, row in by_name.items()}
        costs = {name: float(row["sampled_tokens"]) for name, row in by_name.items()}
        any_right = {name: float(row["n_correct"] > 0) for name, row in by_name.items()}
        n = config.guided[strategy].n
        rows.append(measures.row(strategy, n, right, costs, measures.best_of(n), any_right))
    tables.write_json(
        out,
        {
            "benchmark": benchmark,
            "variant": variant,
            "primary": config.bench.primary,
            "confidence": config.bench.confidence,
            "rows": rows,
        },
    )


class _Measures:
    """Values a problem of Best-of-N and of votes, and rows with intervals."""

    def __init__(self, config: Config, counted: dict[str, Candidates]) -> None:
        self._config = config
        self._counted = counted

    def best_of(self, n: int) -> dict[str, float]:
        """Expected accuracy of the primary aggregate's choice among n; a problem with fewer candidates uses all."""
        primary = self._config.bench.primary
        return {
            name: float(bon.best_of_n(one.scores[primary][None], one.correct[None], min(n, len(one.keys)))[0])
            for name, one in self._counted.items()
        }

    def majority(self, n: int) -> dict[str, float]:
        return {name: votes.majority(one.keys, min(n, len(one.keys))) for name, one in self._counted.items()}

    def oracle(self, n: int) -> dict[str, float]:
        return {
            name: float(bon.oracle(one.correct[None], min(n, len(one.keys)))[0]) for name, one in self._counted.items()
        }

    def row(
        self,
        strategy: str,
        n: int,
        right: dict[str, float],
        tokens: dict[str, float],
        best_of: dict[str, float],
        oracle: dict[str, float],
    ) -> Row:
        names = [name for name in self._counted if name in right]
        if not names:
            raise UserError(f"guided {strategy}: no problem has a verdict; was the grader working?")
        columns = {"tokens": tokens, "accuracy": right, "oracle": oracle}
        values = {key: np.array([column[name] for name in names]) for key, column in columns.items()}
        values["minus_best_of_n"] = values["accuracy"] - np.array([best_of[name] for name in names])
        bench = self._config.bench
        units = [self._counted[name].group for name in names]
        means, low, high = intervals(
            np.stack(list(values.values())), bench.confidence, bench.resamples, self._config.seed, units
        )
        found: Row = {"strategy": strategy, "n": n, "problems": len(names)}
        for key, mean, lower, upper in zip(values, means, low, high, strict=True):
            found[key] = {"value": float(mean), "ci_low": float(lower), "ci_high": float(upper)}
        return found
