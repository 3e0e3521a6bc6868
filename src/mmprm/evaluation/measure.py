"""Measure how well a PRM chooses. In: problems, candidates, scores. Out: `metrics.json`, and the run's `summary.json`.

All values are fractions in [0, 1], averaged over problems; differences are in [-1, 1]. A summary row is
{benchmark, variant, n, metric, value, ci_low, ci_high, problems, primary}: `n` candidates a problem, `primary` for the
rows of `bench.primary`, the aggregate that was fixed beforehand. `selection_rules` defines the metrics, `best_of_n` the
Best-of-N expectation among them, `candidates` which candidates count.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from mmprm.config import Config
from mmprm.data import tables
from mmprm.evaluation.candidates import Row, candidates_by_problem, join_scores
from mmprm.evaluation.selection_rules import selection_metrics
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

    outcome: score tables of the same candidates by variants that were trained on outcomes alone, each named by its
    folder, bench/<benchmark>/<variant>/scores.parquet: the outcome-reward baseline.
    """
    by_id, rows = candidates_by_problem(problems, candidates)
    n = config.bench.n
    for name, group in rows.items():
        if [row["candidate"] for row in group] != list(range(n)):
            raise UserError(
                f"{candidates}: problem {name!r} has {len(group)} candidates, not 0 to {n - 1}; "
                "is a shard missing, or was bench.n changed? Remake the candidates"
            )
    rows = join_scores(rows, scores)
    variants = [path.parent.name for path in outcome]
    for name, path in zip(variants, outcome, strict=True):
        rows = join_scores(rows, path, f"outcome/{name}")
    try:
        metrics = selection_metrics(by_id, rows, config.bench, n, config.seed, variants)
    except UserError as error:
        raise UserError(f"{candidates}: {error}") from error
    names = {"benchmark": benchmark, "variant": variant}
    metrics["rows"] = [names | row for row in metrics["rows"]]
    tables.write_json(out, names | {"domain": config.benchmarks[benchmark].domain} | metrics)


def summarise(config: Config, metrics: list[Path], out: Path) -> None:
    """Write all summary rows of the run, in the order of the configuration's benchmarks and variants."""
    rows: list[Row] = []
    for path in metrics:
        try:
            rows += json.loads(path.read_text())["rows"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not the metrics of this version ({error!r}); delete it and run again") from error
    order = {name: index for index, name in enumerate([*config.benchmarks, *config.prm.variants])}
    rows.sort(key=lambda row: (order.get(row["benchmark"], -1), order.get(row["variant"], -1)))
    tables.write_json(out, rows)
