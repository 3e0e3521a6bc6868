"""Measures how well a PRM chooses. In: problems, candidates, scores. Out: `metrics.json`, and the run's `summary.json`.

All values are fractions in [0, 1], averaged over problems; differences are in [-1, 1]. A summary row is
{benchmark, variant, n, metric, value, ci_low, ci_high, problems, primary}: `n` candidates a problem, `primary` for the
rows of `bench.primary`, the aggregate that was fixed beforehand. What the metrics are: `measures`; which candidates
count: `candidates`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmprm.config import Config
from mmprm.data import schemas, tables
from mmprm.data.problem import problems_by_id
from mmprm.evaluation.candidates import Row, by_problem, join_scores
from mmprm.evaluation.selection_rules import measured
from mmprm.runtime.errors import UserError


def measure(
    config: Config,
    benchmark: str,
    variant: str,
    problems: Path,
    candidates: Path,
    scores: Path,
    out: Path,
    outcome: Sequence[Path] = (),
) -> None:
    """Write the metrics of one benchmark and variant; UserError names what is missing or broken, and where.

    outcome: score tables of the same candidates by variants that were trained on outcomes alone, each called by its
    folder, bench/<benchmark>/<variant>/scores.parquet: the outcome-reward baseline.
    """
    by_id = problems_by_id(problems)
    rows = by_problem(tables.read_rows(candidates, schemas.CANDIDATES), by_id, candidates, problems)
    _check_numbers(rows, config.bench.n, candidates)
    rows = join_scores(rows, scores)
    for path in outcome:
        rows = join_scores(rows, path, f"outcome/{path.parent.name}")
    try:
        found = measured(by_id, rows, config.bench, config.bench.n, config.seed, [path.parent.name for path in outcome])
    except UserError as error:
        raise UserError(f"{candidates}: {error}") from error
    whose = {"benchmark": benchmark, "variant": variant}
    found["rows"] = [whose | row for row in found["rows"]]
    tables.write_json(out, whose | {"domain": config.benchmarks[benchmark].domain} | found)


def _check_numbers(rows: dict[str, list[Row]], n: int, candidates: Path) -> None:
    for name, group in rows.items():
        if [row["candidate"] for row in group] != list(range(n)):
            raise UserError(
                f"{candidates}: problem {name!r} has {len(group)} candidates, not 0 to {n - 1}; "
                "is a shard missing, or bench.n another? Remake the candidates"
            )


def summarise(config: Config, metrics: list[Path], out: Path) -> None:
    """All summary rows of the run, in the order of the configuration's benchmarks and variants."""
    rows: list[dict[str, Any]] = []
    for path in metrics:
        try:
            rows += json.loads(path.read_text())["rows"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not the metrics of this version ({error!r}); delete it and run again") from error
    order = {name: index for index, name in enumerate([*config.benchmarks, *config.prm.variants])}
    rows.sort(key=lambda row: (order.get(row["benchmark"], -1), order.get(row["variant"], -1)))
    tables.write_json(out, rows)
