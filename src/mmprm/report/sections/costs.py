"""The section on cost. In: Snakemake's benchmark files and the usage files of engines. Out: time and tokens a rule."""

import csv
from collections.abc import Iterable
from pathlib import Path

from markupsafe import Markup

from mmprm.config import Config
from mmprm.report import figures
from mmprm.report.results import Row, read_json, shard_names

# The rules in the order in which they work.
STAGES = (
    *("intake", "read_steps", "train_policy", "sample_seeds", "select_seeds", "annotate", "gather_labels"),
    *("gather_label_set", "judge_labels", "measure_labels", "train_prm", "evaluate_prm", "sample_candidates"),
    *("gather_candidates", "score_candidates", "measure", "summarise", "score_steps", "measure_steps"),
)


def costs(config: Config, folder: Path) -> Row:
    """Return the costs by rule, their sums, and a chart of the time."""
    rows = costs_by_rule(config, folder)
    timed = [row for row in rows if row["seconds"]]
    return {
        "rows": rows,
        "seconds": sum(row["seconds"] for row in timed),
        "tokens": sum(row.get("used_generated_tokens", 0) for row in rows),
        "chart": Markup(figures.durations(timed, "Time a stage")) if timed else None,
    }


def costs_by_rule(config: Config, folder: Path) -> list[Row]:
    """Return for each rule {stage, jobs, seconds, memory_mb, used_<key> for each sum of its usage files}."""
    rows: dict[str, Row] = {}
    timings = folder / "benchmarks"
    for path in sorted(timings.rglob("*.tsv")):
        stage = path.relative_to(timings).parts[0].removesuffix(".tsv")
        with path.open(newline="") as file:
            for line in csv.DictReader(file, delimiter="\t"):
                row = rows.setdefault(stage, {"stage": stage, "jobs": 0, "seconds": 0.0, "memory_mb": None})
                row["jobs"] += 1
                row["seconds"] += _number(line.get("s")) or 0.0
                memory = _number(line.get("max_rss"))
                if memory is not None:
                    row["memory_mb"] = max(memory, row["memory_mb"] or 0.0)
    for stage, path in _usage_files(config, folder):
        usage = read_json(path)
        if usage is not None:
            row = rows.setdefault(stage, {"stage": stage, "jobs": None, "seconds": None, "memory_mb": None})
            for key, value in usage.items():
                if isinstance(value, int | float):
                    row[f"used_{key}"] = row.get(f"used_{key}", 0) + value
    order = {stage: rank for rank, stage in enumerate(STAGES)}
    return sorted(rows.values(), key=lambda row: (order.get(row["stage"], len(order)), row["stage"]))


def _usage_files(config: Config, folder: Path) -> Iterable[tuple[str, Path]]:
    for name in shard_names(config, folder, "seeds"):
        yield "sample_seeds", folder / "seeds" / name / "rollouts.parquet.usage.json"
    for name in shard_names(config, folder, "annotation"):
        yield "annotate", folder / "annotation" / name / "usage.json"
    for benchmark in config.benchmarks:
        for name in shard_names(config, folder, "bench"):
            yield "sample_candidates", folder / "bench" / benchmark / "shards" / f"{name}.parquet.usage.json"
        for variant in config.prm.variants:
            yield "score_candidates", folder / "bench" / benchmark / variant / "scores.parquet.usage.json"
    for benchmark in config.step_benchmarks:
        for variant in config.prm.variants:
            yield "score_steps", folder / "steps" / benchmark / variant / "scores.parquet.usage.json"


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:  # Snakemake writes "-" or "NA" where it could not measure
        return None
