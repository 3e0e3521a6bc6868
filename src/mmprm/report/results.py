"""Reads a run's folder for the report. In: results/<run>. Out: plain values; None or nothing where a part is not there.

A part that is missing is for the page to say in words; one that is there and cannot be read raises UserError.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mmprm.config import Config
from mmprm.data import schemas, shards, tables
from mmprm.runtime.errors import UserError

Row = dict[str, Any]

# The order in which the rules of a run work.
STAGES = (
    "intake",
    "read_steps",
    "train_policy",
    "sample_seeds",
    "select_seeds",
    "annotate",
    "gather_labels",
    "gather_label_set",
    "judge_labels",
    "measure_labels",
    "train_prm",
    "evaluate_prm",
    "sample_candidates",
    "gather_candidates",
    "score_candidates",
    "measure",
    "summarise",
    "score_steps",
    "measure_steps",
)


def read_json(path: Path) -> Any:
    """The value of a JSON file, or None where there is none; UserError where it is torn."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); delete it and run again") from error


def shard_names(config: Config, results: Path, stage: str) -> list[str]:
    """The shards of a stage (a key of `shards`), as they lie there."""
    count = shards.stage_count(stage, getattr(config.shards, stage), str(results), config.benchmarks)
    return shards.names(count)


def existing(paths: Iterable[Path]) -> list[Path]:
    """Those of the paths that are files."""
    return [path for path in paths if path.is_file()]


def annotation_files(config: Config, results: Path, name: str) -> list[Path]:
    """One table (nodes, rollouts or status) of all annotation shards that are there."""
    shards = shard_names(config, results, "annotation")
    return existing(results / "annotation" / one / f"{name}.parquet" for one in shards)


def summary_rows(config: Config, results: Path) -> list[Row]:
    """The rows of bench/summary.json, or while there is none those of each metrics.json."""
    rows = read_json(results / "bench" / "summary.json")
    if rows is None:
        rows = [row for metrics in benchmark_metrics(config, results).values() for row in metrics.get("rows", [])]
    return list(rows)


def benchmark_metrics(config: Config, results: Path) -> dict[tuple[str, str], Row]:
    """metrics.json of each benchmark and variant of the configuration that has one."""
    found = {}
    for benchmark in config.benchmarks:
        for variant in config.prm.variants:
            metrics = read_json(results / "bench" / benchmark / variant / "metrics.json")
            if metrics is not None:
                found[benchmark, variant] = {"benchmark": benchmark, "variant": variant, **metrics}
    return found


def step_metrics(config: Config, results: Path) -> list[Row]:
    """metrics.json of each step benchmark and variant that has one."""
    pairs = [(name, variant) for name in config.step_benchmarks for variant in config.prm.variants]
    found = [read_json(results / "steps" / name / variant / "metrics.json") for name, variant in pairs]
    return [metrics for metrics in found if metrics is not None]


def sources(config: Config, results: Path) -> list[Row]:
    """Each source: its kind, licence, how many problems it gave, how many rows were refused, and for what."""
    found = []
    for name, source in config.sources.items():
        table = results / "problems" / f"{name}.parquet"
        refused_table = results / "problems" / f"{name}.refused.parquet"
        refused = tables.read_rows(refused_table, schemas.REFUSED) if refused_table.is_file() else []
        reasons = Counter(row["reason"] for row in refused)
        examples = {row["reason"]: row for row in reversed(refused)}
        found.append(
            {
                "name": name,
                "kind": source.kind,
                "about": source.about,
                "problems": pq.read_metadata(table).num_rows if table.is_file() else None,
                "refused": len(refused),
                "reasons": [
                    {"reason": reason, "count": count, "example": examples[reason]}
                    for reason, count in reasons.most_common()
                ],
            }
        )
    return found


def decisions(results: Path) -> list[Row]:
    """The seed decisions, a row for each problem."""
    path = results / "seeds" / "decisions.parquet"
    return tables.read_rows(path, schemas.SEED_DECISIONS) if path.is_file() else []


def mc_values(config: Config, results: Path) -> list[float]:
    """The MC values of all nodes of all trees."""
    values: list[float] = []
    for path in annotation_files(config, results, "nodes"):
        for part in tables.batches(path, schemas.NODES, ("mc",)):
            values += part["mc"].drop_null().to_pylist()
    return values


def paths(results: Path) -> list[Row]:
    """The label columns of all step paths (without their texts)."""
    path = results / "labels" / "paths.parquet"
    if not path.is_file():
        return []
    columns = ["kind", "split", "n_correct", "n_rollouts", "hard", "label_source"]
    return [row for part in tables.batches(path, schemas.PATHS, columns) for row in part.to_pylist()]


def costs(config: Config, results: Path) -> list[Row]:
    """What each rule took: jobs, seconds, memory (Snakemake's benchmark files), and tokens (usage files)."""
    found: dict[str, Row] = {}
    folder = results / "benchmarks"
    for path in sorted(folder.rglob("*.tsv")):
        stage = path.relative_to(folder).parts[0].removesuffix(".tsv")
        with path.open(newline="") as file:
            for line in csv.DictReader(file, delimiter="\t"):
                row = found.setdefault(stage, {"stage": stage, "jobs": 0, "seconds": 0.0, "memory_mb": None})
                row["jobs"] += 1
                row["seconds"] += _number(line.get("s")) or 0.0
                memory = _number(line.get("max_rss"))
                if memory is not None:
                    row["memory_mb"] = max(memory, row["memory_mb"] or 0.0)
    for stage, path in _usage_files(config, results):
        usage = read_json(path)
        if usage is not None:
            row = found.setdefault(stage, {"stage": stage, "jobs": None, "seconds": None, "memory_mb": None})
            for key, value in usage.items():
                if isinstance(value, int | float):
                    row[f"used_{key}"] = row.get(f"used_{key}", 0) + value
    order = {stage: place for place, stage in enumerate(STAGES)}
    return sorted(found.values(), key=lambda row: (order.get(row["stage"], len(order)), row["stage"]))


def _usage_files(config: Config, results: Path) -> Iterable[tuple[str, Path]]:
    for name in shard_names(config, results, "seeds"):
        yield "sample_seeds", results / "seeds" / name / "rollouts.parquet.usage.json"
    for name in shard_names(config, results, "annotation"):
        yield "annotate", results / "annotation" / name / "usage.json"
    for benchmark in config.benchmarks:
        for name in shard_names(config, results, "bench"):
            yield "sample_candidates", results / "bench" / benchmark / "shards" / f"{name}.parquet.usage.json"
        for variant in config.prm.variants:
            yield "score_candidates", results / "bench" / benchmark / variant / "scores.parquet.usage.json"
    for benchmark in config.step_benchmarks:
        for variant in config.prm.variants:
            yield "score_steps", results / "steps" / benchmark / variant / "scores.parquet.usage.json"


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:  # Snakemake writes "-" or "NA" where it could not measure
        return None
